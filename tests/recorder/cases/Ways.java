// A server of the Java library, whose /slow sleeps for a second.
//
// usage: java Ways.java PORT plain|cached|fixed2|sync
//
// plain   one thread          cached  a thread for each client
// fixed2  a pool of two       sync    the same, but each takes one lock
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Ways {
    private static final Object LOCK = new Object();

    private static void answer(HttpExchange exchange) throws IOException {
        if (exchange.getRequestURI().getPath().equals("/slow"))
            try {
                Thread.sleep(1000);
            } catch (InterruptedException e) {
                return;
            }
        exchange.sendResponseHeaders(200, 4);
        exchange.getResponseBody().write("done".getBytes());
        exchange.close();
    }

    public static void main(String[] words) throws IOException {
        String way = words[1];
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
