# A server in Perl, whose /slow takes about a second.
#
# usage: perl ways.pl PORT one|fork|compute|flock|ask|select [UPSTREAM_PORT]
#
# one, fork   one client after the other, or a process for each: sleeps      select  a loop with select, which sleeps
# compute, flock, ask   one client after the other: computes, waits for the lock of a file, or asks another server
use strict;
use warnings;
use Fcntl ':flock';
use IO::Select;
use IO::Socket::INET;
use Time::HiRes 'time';

my ($port, $way, $upstream) = @ARGV;
$SIG{CHLD} = 'IGNORE';
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 9, ReuseAddr => 1)
    or die "listen: $!";

sub wait_for_a_file {
    my $name = ($ENV{TMPDIR} // '/tmp') . "/stock-$port.lock";
    pipe(my $ready, my $told);
    if (!fork) {
        open(my $file, '>', $name) or die "$name: $!";
        flock($file, LOCK_EX);
        syswrite($told, '!');
        select(undef, undef, undef, 1);
        exit;
    }
    sysread($ready, my $byte, 1);
    open(my $file, '>', $name) or die "$name: $!";
    flock($file, LOCK_EX);
    unlink $name;
}

sub slow {
    if ($way eq 'compute') {
        for (my $end = time + 1; time < $end;) { }
    } elsif ($way eq 'flock') {
        wait_for_a_file();
    } elsif ($way eq 'ask') {
        my $other = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $upstream) or die "connect: $!";
        print $other "GET /slow HTTP/1.0\r\n\r\n";
        my @lines = <$other>;
    } else {
        select(undef, undef, undef, 1);
    }
}

sub serve {
    my $client = shift;
    my $line = <$client> // '';
    while (defined(my $field = <$client>)) { last if $field =~ /^\r?\n$/ }
    slow() if $line =~ m{/slow};
    print $client "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone";
    close $client;
}

my $all = IO::Select->new($server);
while ($way eq 'select') {
    for my $ready ($all->can_read) {
        if ($ready == $server) {
            $all->add(scalar $server->accept);
        } else {
            $all->remove($ready);
            serve($ready);
        }
    }
}
while (1) {
    my $client = $server->accept or next;
    next if $way eq 'fork' && fork;
    serve($client);
    exit if $way eq 'fork';
}
