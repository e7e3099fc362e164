package sample;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/** A small HTTP service. */
public final class Main {
    public static void main(String[] arguments) throws IOException {
        var server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", Main::handle);
        server.start();
        System.out.println("listening, local time zone " + java.util.TimeZone.getDefault().getID());
    }

    private static void handle(HttpExchange exchange) throws IOException {
        String[] parts = exchange.getRequestURI().getPath().split("/", 3);
        int status = 200;
        String text;
        try {
            text = Routes.answer(parts[1], parts.length > 2 ? parts[2] : "");
            if (text == null) {
                status = 404;
                text = new String(Main.class.getResourceAsStream("/404.txt").readAllBytes());
            }
        } catch (Exception | LinkageError error) {
            status = 500;
            text = error.toString();
        }
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
