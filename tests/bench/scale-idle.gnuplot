# CPU cost per request against idle connections. A logarithm has no 0, so no idle connections are drawn at 10.
wide = 760; high = 440
load 'style.gnuplot'
set label 999 'CPU cost per request as idle connections grow' at screen 0.02,heading_at left font ',16' textcolor rgb ink
set lmargin 12
set rmargin 17
set bmargin 5.5
set logscale xy
set xrange [8:10000]
set yrange [1:10000]
set border 3
set xtics nomirror out ('0' 10, '100' 100, '1,000' 1000, '10,000' 10000)
set ytics nomirror out ('1 µs' 1, '10 µs' 10, '100 µs' 100, '1 ms' 1000, '10 ms' 10000)
unset mxtics
set grid lc rgb '#e4e4e4' lt 1
set xlabel 'idle connections' textcolor rgb ink
set ylabel 'CPU time per /fast' offset character -0.5,0 textcolor rgb ink
unset key
file(stage) = sprintf('%s/idle.%s', work, stage)
# Lines that coincide stay visible, because the wide ones are drawn first.
set label 1 '03-select ends at FD_SETSIZE' at 1150,80 left offset character 1.2,-0.35 \
    point pt 5 ps 0.9 lc rgb c03 textcolor rgb ink font ',12'
load file('labels')
plot file('02') using 1:2 with linespoints lw 10 pt 7 ps 1.2 lc rgb c02, \
     file('03') using 1:2 with linespoints lw 8 pt 7 ps 1.1 lc rgb c03, \
     file('05') using 1:2 with linespoints lw 6 pt 7 ps 0.9 lc rgb c05, \
     file('04') using 1:2 with linespoints lw 2.5 pt 7 ps 0.6 lc rgb c04, \
     file('06') using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc rgb c06
