# A server in Tcl, whose /slow takes a second: "timer" lets its event loop go on, "block" does not.
#
# usage: tclsh ways.tcl PORT timer|block
lassign $argv port way

proc accept {client address port} {
    fconfigure $client -blocking 0 -translation binary
    fileevent $client readable [list serve $client]
}

proc serve {client} {
    global way
    set head [read $client]
    if {[eof $client]} { close $client; return }
    fileevent $client readable {}
    if {![string match "GET /slow*" $head]} {
        answer $client
    } elseif {$way eq "timer"} {
        after 1000 [list answer $client]
    } else {
        after 1000
        answer $client
    }
}

proc answer {client} {
    puts -nonewline $client "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"
    close $client
}

socket -server accept -myaddr 127.0.0.1 $port
vwait forever
