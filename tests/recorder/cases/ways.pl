# A server in Perl, whose /slow sleeps for a second.
#
# usage: perl ways.pl PORT one|fork
use strict;
use warnings;
use IO::Socket::INET;

my ($port, $way) = @ARGV;
$SIG{CHLD} = 'IGNORE';
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 9, ReuseAddr => 1)
    or die "listen: $!";
while (1) {
    my $client = $server->accept or next;
    next if $way eq 'fork' && fork;
    my $line = <$client> // '';
    while (defined(my $field = <$client>)) { last if $field =~ /^\r?\n$/ }
    select(undef, undef, undef, 1) if $line =~ m{/slow};
    print $client "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone";
    close $client;
    exit if $way eq 'fork';
}
