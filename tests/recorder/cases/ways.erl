%% A server in Erlang, whose /slow takes about a second.
%%
%% usage: escript ways.erl PORT each|one|compute|ask [UPSTREAM_PORT]
%%
%% each     a process of Erlang for each client, which sleeps      one  one process serves one client after the other
%% compute  a process for each client, with one scheduler          ask  one process, which asks another server
-mode(compile).

main([Port, Way | More]) ->
    put(more, More),
    case Way of "compute" -> erlang:system_flag(schedulers_online, 1); _ -> ok end,
    {ok, Listener} = gen_tcp:listen(list_to_integer(Port),
                                    [binary, {packet, http}, {active, false}, {reuseaddr, true}, {ip, {127, 0, 0, 1}}]),
    loop(Listener, Way).

loop(Listener, Way) ->
    {ok, Client} = gen_tcp:accept(Listener),
    case lists:member(Way, ["one", "ask"]) of
        true -> serve(Client, Way);
        false -> gen_tcp:controlling_process(Client, spawn(fun() -> serve(Client, Way) end))
    end,
    loop(Listener, Way).

serve(Client, Way) ->
    case gen_tcp:recv(Client, 0) of
        {ok, {http_request, _, {abs_path, Path}, _}} ->
            skip_fields(Client),
            case Path of "/slow" -> slow(Way); _ -> ok end,
            gen_tcp:send(Client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone");
        _ -> ok
    end,
    gen_tcp:close(Client).

skip_fields(Client) ->
    case gen_tcp:recv(Client, 0) of
        {ok, http_eoh} -> ok;
        {ok, _} -> skip_fields(Client);
        _ -> ok
    end.

slow("compute") -> compute(erlang:monotonic_time(millisecond) + 1000);
slow("ask") ->
    [Upstream] = get(more),
    {ok, Server} = gen_tcp:connect({127, 0, 0, 1}, list_to_integer(Upstream), [binary, {active, false}]),
    gen_tcp:send(Server, "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    gen_tcp:recv(Server, 0),
    gen_tcp:close(Server);
slow(_) -> timer:sleep(1000).

compute(End) ->
    case erlang:monotonic_time(millisecond) < End of true -> compute(End); false -> ok end.
