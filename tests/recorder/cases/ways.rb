# A server in Ruby, whose /slow takes about a second.
#
# usage: ruby ways.rb PORT one|threads|mutex|compute
require "socket"

port, way = ARGV
server = TCPServer.new("127.0.0.1", port.to_i)
lock = Mutex.new

serve = lambda do |client|
  line = client.gets
  nil until client.gets.to_s.strip.empty?
  slow = line.to_s.include?("/slow")
  case way
  when "mutex" then lock.synchronize { sleep 1 if slow }
  when "compute"
    finish = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 1
    nil while slow && Process.clock_gettime(Process::CLOCK_MONOTONIC) < finish
  else sleep 1 if slow
  end
  client.write "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"
  client.close
end

loop do
  client = server.accept
  %w[threads mutex].include?(way) ? Thread.new(client, &serve) : serve.call(client)
end
