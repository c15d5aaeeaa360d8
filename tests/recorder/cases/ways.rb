# A server in Ruby, whose /slow takes about a second.
#
# usage: ruby ways.rb PORT one|threads|mutex|compute|fork|child|ask|queue [UPSTREAM_PORT]
#
# one    one client after the other          threads  a thread for each client; so do mutex and queue
# mutex  /fast wants the mutex of /slow      queue    /fast waits for what /slow puts into a queue
# fork   a process for each client           compute, child, ask: one thread computes, waits for a child process, or
#                                            asks another server
require "socket"

port, way, upstream = ARGV
server = TCPServer.new("127.0.0.1", port.to_i)
lock, queue, begun = Mutex.new, Queue.new, false

serve = lambda do |client|
  line = client.gets
  nil until client.gets.to_s.strip.empty?
  slow = line.to_s.include?("/slow")
  begun ||= slow
  case way
  when "mutex" then lock.synchronize { sleep 1 if slow }
  when "queue" then slow ? (sleep 1; queue << 1) : begun && queue.pop
  when "compute"
    finish = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 1
    nil while slow && Process.clock_gettime(Process::CLOCK_MONOTONIC) < finish
  when "child" then system("sleep 1") if slow
  when "ask"
    TCPSocket.open("127.0.0.1", upstream) { |s| s.write("GET /slow HTTP/1.0\r\n\r\n"); s.read } if slow
  else sleep 1 if slow
  end
  client.write "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"
  client.close
end

loop do
  client = server.accept
  if %w[threads mutex queue].include?(way)
    Thread.new(client, &serve)
  elsif way == "fork"
    Process.detach(fork { serve.call(client) })
    client.close
  else
    serve.call(client)
  end
end
