# CPU time of a switch, a bar for each way. rows: place, colour, ns, least, most, text after the bar, name.
wide = 760; high = 140 + 27 * ways
load 'style.gnuplot'
rows = work.'/rows'
set label 999 'What a switch costs: to stop here, and to go on elsewhere' at screen 0.02,heading_at left font ',16' textcolor rgb ink
set lmargin 29
set rmargin 4
set bmargin 5.5
set logscale x
set xrange [0.3:100000]
set yrange [ways + 0.6:0.4]
set border 1
set xtics nomirror out ('1 ns' 1, '10 ns' 10, '100 ns' 100, '1 µs' 1000, '10 µs' 10000)
unset ytics
set grid xtics lc rgb '#e4e4e4' lt 1
set xlabel 'CPU time of one way, log scale; green: a stack of its own, blue: Python' textcolor rgb ink
set style fill solid noborder
unset key
plot rows using 3:1:(0.3):3:($1 - 0.35):($1 + 0.35):2 with boxxyerror lc rgb variable, \
     rows using (0.3):1:7 with labels right offset character -0.8,0 textcolor rgb ink font ',12', \
     rows using 5:1:6 with labels left offset character 0.6,0 textcolor rgb ink font ',12', \
     rows using 3:1:4:5 with xerrorbars pt 0 lw 1 lc rgb ink
