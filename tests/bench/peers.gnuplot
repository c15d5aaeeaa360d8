# CPU cost per request, a bar for each server. rows: place, colour, us, least, most, text after the bar, name.
wide = 760; high = 140 + 27 * servers
load 'style.gnuplot'
rows = work.'/rows'
set label 999 'CPU cost per /fast: 64 clients, server and clients on one core' at screen 0.02,heading_at left font ',16' textcolor rgb ink
set lmargin 25
set rmargin 4
set bmargin 5.5
set xrange [0:320]
set yrange [servers + 0.6:0.4]
set border 1
set xtics nomirror out ('0' 0, '50 µs' 50, '100 µs' 100, '150 µs' 150, '200 µs' 200)
unset ytics
set grid xtics lc rgb '#e4e4e4' lt 1
set xlabel 'CPU time; × is relative to the floor, a bare epoll loop' textcolor rgb ink
set style fill solid noborder
unset key
plot rows using 3:1:(1):3:($1 - 0.35):($1 + 0.35):2 with boxxyerror lc rgb variable, \
     rows using (1):1:7 with labels right offset character -0.8,0 textcolor rgb ink font ',12', \
     rows using 5:1:6 with labels left offset character 0.6,0 textcolor rgb ink font ',12', \
     rows using 3:1:4:5 with xerrorbars pt 0 lw 1 lc rgb ink
