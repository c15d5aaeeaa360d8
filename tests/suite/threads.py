"""--threads and --compute: the pool beside a loop (03 to 06)."""
import signal
import time

from suite.cases import LONG, READINESS, case
from suite.server import FAST, FAST_CLOSE, SLOW, SLOW_CLOSE, Failure


@case(READINESS)
def pool_serves_two_at_a_time(stage):
    with stage.serve("--block", "--threads", 2, "--delay", 1.5) as server:
        start = time.monotonic()
        clients = [server.client(SLOW) for _ in range(5)]
        server.expect_served()
        server.expect_silence([clients[0], clients[4]], "/fast before any /slow")
        for client in clients:
            server.expect(client, "/slow", sleeps=5)
        took = time.monotonic() - start
        if not 4.5 <= took < 7.5:
            raise Failure("five /slow of 1.5 s by two threads: 4.5 s", f"{took:.1f} s", late=took > 4.5)


@case(READINESS)
def fast_overtakes_a_full_pool(stage):
    with stage.serve("--block", "--threads", 2, "--delay", LONG) as server:
        clients = [server.client(SLOW) for _ in range(4)]
        server.expect_served()
        server.expect_silence(clients, f"no response to /slow before {LONG} s")
        server.expect_no_busy_loop(0.2)


@case(READINESS)
def job_queue_is_first_in_first_out(stage):
    """The log of --verbose tells the order of the responses."""
    with stage.serve("--block", "--threads", 1, "--delay", 0.1, "--verbose") as server:
        clients, ports = [], []
        for _ in range(6):
            clients.append(server.client(SLOW))
            ports.append(clients[-1].port)
            server.expect_served()  # its request has been read by now: its job is in the queue
        for client in clients:
            server.expect(client, "/slow", sleeps=0.6)
        server.expect_served()  # the last response has been logged by now
        log = server.messages()
        places = [log.find(f':{port} "GET /slow') for port in ports]
        if -1 in places or places != sorted(places):
            raise Failure("responses in the order of the requests",
                          f"this order: {sorted(range(6), key=places.__getitem__)}")


@case(READINESS)
def no_result_is_lost(stage):
    """Jobs without a delay finish while the loop collects others: a wake-up that is lost then would leave a
    client without its response."""
    with stage.serve("--block", "--threads", 8, "--delay", 0) as server:
        clients = [server.client() for _ in range(16)]
        for _ in range(200):
            for client in clients:
                client.get("/slow")
            for client in clients:
                server.expect(client, "/slow")


@case(READINESS)
def pipelined_requests_wait_for_their_job(stage):
    with stage.serve("--block", "--threads", 2, "--delay", 0.2) as server:
        client = server.client(SLOW + FAST + SLOW + FAST_CLOSE)
        for path in ("/slow", "/fast", "/slow"):
            server.expect(client, path, sleeps=0.2)
        server.expect_closed(client, server.expect(client, "/fast"))


@case(READINESS)
def client_that_leaves_its_job_harms_nobody(stage):
    """The connection of a client that has left stays open until its job is done, and its descriptor is not
    given to another client meanwhile."""
    with stage.serve("--block", "--threads", 1, "--delay", 0.3) as server:
        at_rest = server.descriptors_at_rest()
        for _ in range(3):
            gone, halved = server.client(SLOW), server.client(SLOW)
            gone.all_received()
            server.expect_served()
            gone.reset()
            halved.half_close()
            other = server.client(FAST)
            server.expect(other, "/fast")
            server.expect_no_busy_loop(0.1)
            server.expect(halved, "/slow", sleeps=0.6)
            server.expect_silence([other], "no response to a client that has not asked for it")
            halved.close()
            other.close()
        server.expect_descriptors(at_rest)


@case(READINESS)
def jobs_are_bounded_by_connections(stage):
    """Each connection has one job at most, and stays open for it. So there are never more jobs than
    connections: clients that leave do not make room for others whose jobs would pile up."""
    with stage.serve("--block", "--threads", 1, "--delay", LONG, "--timeout", LONG) as server:
        clients = [server.client(SLOW) for _ in range(4)]
        idle = server.client(FAST)
        server.expect(idle, "/fast")  # all requests have been read by now
        server.limit("nofile", server.lowest_free_descriptor())
        for client in clients:
            client.reset()
        waiting = server.client(FAST)
        waiting.pause(0.2)
        server.expect_silence([waiting],
                              "no room for a client while the jobs of those that have left are there")
        server.expect_no_busy_loop(0.1)


@case(READINESS)
def shutdown_waits_for_all_jobs(stage):
    with stage.serve("--block", "--threads", 1, "--delay", 0.3) as server:
        clients = [server.client(SLOW) for _ in range(3)]
        server.expect_served()
        server.signal(signal.SIGTERM)
        for client in clients:
            server.expect_closed(client, server.expect(client, "/slow", sleeps=0.9))
        server.expect_exit()


@case(READINESS)
def shutdown_loses_no_job_of_many(stage):
    """The signal arrives while hundreds of jobs wait in the queue. Each client gets one response, and then
    the end of its connection."""
    with stage.serve("--block", "--threads", 8, "--delay", 0.003, "--timeout", LONG) as server:
        clients = [server.client(SLOW) for _ in range(900)]
        for client in clients[:300]:
            server.expect(client, "/slow")
        server.signal(signal.SIGTERM)
        for client in clients[300:]:
            server.expect(client, "/slow")
        for client in clients:
            server.expect_end(client)
        server.expect_exit()


@case(READINESS)
def each_worker_has_a_pool(stage):
    with stage.serve("--block", "--threads", 1, "--delay", 0.2, "--workers", 2) as server:
        clients = [server.client(SLOW) for _ in range(4)]
        for client in clients:
            server.expect(client, "/slow", sleeps=0.8)
        server.expect_graceful_exit()


@case(f"one threads {READINESS}")
def computing_uses_the_processor(stage):
    with stage.serve("--compute", "--delay", 0.3) as server:
        before = server.cpu_seconds()
        client = server.client(SLOW_CLOSE)
        server.expect(client, "/slow")
        server.expect_end(client)
        used = server.cpu_seconds() - before
        if used < 0.28:  # ticks are coarse
            raise Failure("0.3 s of processor time for /slow", f"{used:.2f} s")


@case(f"one {READINESS}")
def computing_delays_everybody_else(stage):
    with stage.serve("--compute", "--delay", 0.3) as server:
        slow = server.client(SLOW)
        server.expect_served()
        if slow.silent():
            raise Failure("/fast after /slow, since --compute keeps the only thread", "/fast before /slow")


@case(f"threads {READINESS}")
def computing_delays_nobody_else(stage):
    with stage.serve("--compute", "--delay", 30,
                     *([] if stage.kind == "threads" else ["--threads", 1])) as server:
        slow = server.client(SLOW)
        server.expect_served()
        server.expect_silence([slow], "no response to /slow before 30 s")


@case("one threads")
def stage_without_a_pool_refuses_threads(stage):
    """N processes that serve a client each teach what N threads in 02 would."""
    with stage.serve("--block", "--threads", 3, listens=False) as server:
        server.expect_exit(2)
        if "--threads 3: " not in server.messages() or "--workers" not in server.messages():
            raise Failure("a message that names --threads 3, and --workers instead", server.messages())


@case(f"one threads {READINESS}")
def threads_that_make_no_sense_are_refused(stage):
    for count in (3, 0):
        with stage.serve("--threads", count, listens=False) as server:
            server.expect_exit(2)
            if f"--threads {count}: " not in server.messages():
                raise Failure(f"a message that names --threads {count}", server.messages())
