# Left: how late the last of many answers is. Right: the memory that a waiting client takes.
wide = 900; high = 440
load 'style.gnuplot'
file(stage) = sprintf('%s/waits.%s', work, stage)
set multiplot
unset key

set lmargin at screen 0.08
set rmargin at screen 0.44
set tmargin at screen 0.85
set bmargin at screen 0.22
set label 999 'How late is the last of many /slow answers?' at screen 0.015,heading_at left font ',15' textcolor rgb ink
set logscale xy
set xrange [8:14000]
set yrange [1:20000]
set border 3
set xtics nomirror out ('10' 10, '100' 100, '1,000' 1000, '10,000' 10000)
set ytics nomirror out ('1 ms' 1, '10 ms' 10, '100 ms' 100, '1 s' 1000, '10 s' 10000)
set grid lc rgb '#e4e4e4' lt 1
set xlabel 'simultaneous clients' textcolor rgb ink
set label 1 '01-blocking: one by one' at 13,late01 left textcolor rgb ink font ',12'
set label 2 "03-select:\nin waves" at 850,2300 right textcolor rgb ink font ',12'
load file('labels')
unset label 1000
plot file('02') using 1:2 with linespoints lw 4 pt 7 ps 0.8 lc rgb c02, \
     file('03') using 1:2 with linespoints lw 4 pt 7 ps 0.8 lc rgb c03, \
     file('04') using 1:2 with linespoints lw 3 pt 7 ps 0.7 lc rgb c04, \
     file('05') using 1:2 with linespoints lw 3 pt 7 ps 0.6 lc rgb c05, \
     file('06') using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc rgb c06, \
     file('01') using 1:2 with points pt 7 ps 0.9 lc rgb c01

unset label
unset logscale
set lmargin at screen 0.72
set rmargin at screen 0.975
set label 999 'Memory per waiting client ('.memory_clients.' clients)' at screen 0.6,heading_at left font ',15' textcolor rgb ink
set label 1000 machine at screen 0.985,0.035 right font ',10' textcolor rgb small
set label 998 memory_note at screen 0.6,heading_at - 0.055 left font ',11' textcolor rgb ink
set xrange [0:memory_most]
set yrange [5.6:0.4]
set border 1
set xtics nomirror out autofreq format '%g'
set ytics nomirror scale 0 ('02-threaded' 1, '03-select' 2, '04-poll' 3, '05-epoll' 4, '06-libev' 5)
set grid xtics noytics
set xlabel 'KiB (03: with 1,000 clients)' textcolor rgb ink
set style fill solid noborder
plot file('memory') using 3:1:(0):($3 + $4):($1 - 0.3):($1 + 0.3) with boxxyerror lc rgb pale, \
     file('memory') using 3:1:(0):3:($1 - 0.3):($1 + 0.3):2 with boxxyerror lc rgb variable, \
     file('memory') using ($3 + $4):1:5 with labels left offset character 0.6,0 textcolor rgb ink font ',12'
unset multiplot
