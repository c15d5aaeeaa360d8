// A server of the Java library, whose /slow takes about a second.
//
// usage: java Ways.java PORT plain|cached|fixed2|sync|compute|ask|child [UPSTREAM_PORT]
//
// plain    one thread          cached  a thread for each client
// fixed2   a pool of two       sync    a thread for each client, but each takes one lock
// compute  one thread, which computes instead; ask: it asks another server; child: it waits for a child process
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URL;
import java.util.concurrent.Executors;

public class Ways {
    private static final Object LOCK = new Object();
    private static String way, upstream;

    private static void slow() throws IOException {
        if (way.equals("compute")) {
            for (long end = System.nanoTime() + 1_000_000_000L; System.nanoTime() < end;)
                ;
        } else if (way.equals("ask")) {
            new URL("http://127.0.0.1:" + upstream + "/slow").openStream().readAllBytes();
        } else {
            try {
                if (way.equals("child"))
                    new ProcessBuilder("sleep", "1").start().waitFor();
                else
                    Thread.sleep(1000);
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    private static void answer(HttpExchange exchange) throws IOException {
        if (exchange.getRequestURI().getPath().equals("/slow"))
            slow();
        exchange.sendResponseHeaders(200, 4);
        exchange.getResponseBody().write("done".getBytes());
        exchange.close();
    }

    public static void main(String[] words) throws IOException {
        way = words[1];
        upstream = words[words.length - 1];
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(words[0])), 0);
        if (way.equals("cached") || way.equals("sync"))
            server.setExecutor(Executors.newCachedThreadPool());
        if (way.equals("fixed2"))
            server.setExecutor(Executors.newFixedThreadPool(2));
        server.createContext("/", exchange -> {
            if (way.equals("sync"))
                synchronized (LOCK) {
                    answer(exchange);
                }
            else
                answer(exchange);
        });
        server.start();
    }
}
