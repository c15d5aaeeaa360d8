# Shared by all pictures. They have a background of their own, because the page may be dark. figures.py
# chooses the colours: those of Okabe and Ito, which colour-blind readers can tell apart.
set encoding utf8
set terminal svg size wide,high font 'Helvetica,Arial,sans-serif,13' background '#ffffff' noenhanced
set output out
ink = '#222222'; pale = '#d8d8d8'; small = '#666666'
set border lc rgb ink
set tics textcolor rgb ink
heading_at = 1 - 26. / high
set tmargin at screen 1 - 52. / high
set label 1000 machine at screen 0.985,0.035 right font ',10' textcolor rgb small
