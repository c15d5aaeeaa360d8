# The measured requests of one stage. rows: y, start, start of service, end (in s), text after the bar, path.
wide = 760; high = 330
load 'style.gnuplot'
rows = work.'/rows'
set label 999 heading at screen 0.02,heading_at left font ',16' textcolor rgb ink
set lmargin 8
set rmargin 3
set bmargin 5
set xrange [0:longest]
set yrange [1.8:9.5]
set border 1
set xtics 0,1 nomirror out
set mxtics 2
set grid xtics lc rgb '#e4e4e4' lt 1
set xlabel 'seconds since the first request' textcolor rgb ink
unset ytics
set label 1 'One client asks for /slow, and 0.1 s later another for /fast:' at graph 0,first 9.1 left textcolor rgb ink
set label 2 'Five clients ask for /slow simultaneously:' at graph 0,first 6.5 left textcolor rgb ink
set label 3 '■' at screen 0.02,0.035 left textcolor rgb pale
set label 4 'waiting for its turn' at screen 0.042,0.035 left font ',11' textcolor rgb ink
set label 5 '■' at screen 0.2,0.035 left textcolor rgb color
set label 6 'being served' at screen 0.222,0.035 left font ',11' textcolor rgb ink
set style fill solid noborder
unset key
thin = longest / 250.
plot rows using 2:1:2:3:($1 - 0.28):($1 + 0.28) with boxxyerror lc rgb pale, \
     rows using 3:1:($4 - $3 < thin ? $4 - thin : $3):4:($1 - 0.28):($1 + 0.28) with boxxyerror lc rgb color, \
     rows using 4:1:5 with labels left offset character 0.7,0 textcolor rgb ink font ',12', \
     rows using (0):1:6 with labels right offset character -0.7,0 textcolor rgb ink
