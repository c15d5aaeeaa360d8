# Left: how late the n-th of 100 answers of a pool of 4 is, and /fast meanwhile. Right: what a hand-over costs.
wide = 900; high = 440
load 'style.gnuplot'
file(name) = sprintf('%s/wayout.%s', work, name)
set multiplot
unset key

set lmargin at screen 0.1
set rmargin at screen 0.52
set tmargin at screen 0.85
set bmargin at screen 0.2
set label 999 '100 simultaneous /slow of 50 ms over a pool of 4' at screen 0.015,heading_at left font ',15' textcolor rgb ink
set xrange [0:101]
set yrange [-40:1400]
set border 3
set xtics nomirror out 20
set ytics nomirror out ('0' 0, '0.25 s' 250, '0.5 s' 500, '0.75 s' 750, '1 s' 1000, '1.25 s' 1250)
set grid lc rgb '#e4e4e4' lt 1
set xlabel 'the n-th answer; /fast beside those answered so far' textcolor rgb ink
set ylabel 'answered after' offset character 1,0 textcolor rgb ink
set label 1 '/slow: four at a time' at 52,900 right textcolor rgb ink font ',12'
set label 2 '/fast, meanwhile' at 60,70 center textcolor rgb ink font ',12'
unset label 1000
plot file('late') using 1:2 with points pt 7 ps 0.5 lc rgb c05, \
     file('fast') using 1:2 with points pt 5 ps 0.5 lc rgb c01

unset label
unset ylabel
set lmargin at screen 0.72
set rmargin at screen 0.975
set label 999 'CPU cost of a /slow that does nothing' at screen 0.6,heading_at left font ',15' textcolor rgb ink
set label 998 "Memory of a client that waits: ".in_queue." KiB in the queue,\n".in_loop." KiB in the loop, with a deadline" \
    at screen 0.6,0.19 left font ',11' textcolor rgb ink
set label 1000 machine at screen 0.985,0.035 right font ',10' textcolor rgb small
set bmargin at screen 0.4
set xrange [0:most_us]
set yrange [3.6:0.4]
set border 1
set xtics nomirror out 5 format '%g'
set ytics nomirror scale 0 ('in the loop' 1, 'pool of 1 thread' 2, 'pool of 4' 3)
set grid xtics noytics
set xlabel 'CPU time, µs; × the cost in the loop' textcolor rgb ink
set style fill solid noborder
plot file('cost') using 3:1:(0):3:($1 - 0.3):($1 + 0.3):2 with boxxyerror lc rgb variable, \
     file('cost') using 5:1:6 with labels left offset character 0.6,0 textcolor rgb ink font ',12', \
     file('cost') using 3:1:4:5 with xerrorbars pt 0 lw 1 lc rgb ink
unset multiplot
