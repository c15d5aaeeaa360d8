# What all pictures share. A background of their own, since a page may be dark; the colours of Okabe
# and Ito, which people who see fewer colours can tell apart: one for each stage, in all pictures.
set encoding utf8
set terminal svg size wide,high font 'Helvetica,Arial,sans-serif,13' background '#ffffff' noenhanced
set output out
c01 = '#d55e00'; c02 = '#e69f00'; c03 = '#56b4e9'; c04 = '#0072b2'; c05 = '#009e73'; c06 = '#cc79a7'
ink = '#222222'; pale = '#d8d8d8'; small = '#666666'
set border lc rgb ink
set tics textcolor rgb ink
heading_at = 1 - 26. / high
set tmargin at screen 1 - 52. / high
set label 1000 machine at screen 0.985,0.035 right font ',10' textcolor rgb small
