package sample;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.net.InetAddress;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.Collator;
import java.text.NumberFormat;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.FormatStyle;
import java.util.HexFormat;
import java.util.Locale;
import java.util.ResourceBundle;
import java.util.ServiceLoader;

/** Most of these load their classes, libraries and data when first asked. */
final class Routes {
    static String answer(String route, String argument) throws Exception {
        return switch (route) {
            case "" -> "hello";
            case "time" -> moment().withZoneSameInstant(ZoneId.of(argument.replace('_', '/'))).toString();
            case "locale" -> locale(Locale.forLanguageTag(argument));
            case "charset" -> HexFormat.of().formatHex("日本 čaj".getBytes(Charset.forName(argument)));
            case "tls" -> tls();
            case "digest" -> digest(argument);
            case "bundle" -> ResourceBundle.getBundle("messages", Locale.forLanguageTag(argument)).getString("hello");
            case "xml" -> xml();
            case "plugin" -> ServiceLoader.load(Speaker.class).findFirst().orElseThrow().say(argument);
            case "image" -> image(argument);
            case "child" -> child();
            case "day" -> day();
            case "text" -> text(argument);
            case "host" -> InetAddress.getByName("localhost").getHostAddress();
            case "file" -> Files.readString(Path.of("data", argument));
            case "temp" -> temp();
            case "script" -> String.join(",", new java.util.TreeSet<>(java.security.Security.getAlgorithms("Cipher")));
            case "log" -> log();
            case "compile" -> String.valueOf(javax.tools.ToolProvider.getSystemJavaCompiler() != null);
            case "http" -> http(argument);
            case "prefs" -> java.net.URI.create("http://h/" + argument).getPath();
            case "management" -> java.lang.management.ManagementFactory.getRuntimeMXBean().getSpecName();
            default -> null;
        };
    }

    private static ZonedDateTime moment() {
        return ZonedDateTime.of(2024, 2, 29, 12, 0, 0, 0, ZoneOffset.UTC);
    }

    private static String locale(Locale locale) {
        String day = moment().format(DateTimeFormatter.ofLocalizedDate(FormatStyle.FULL).withLocale(locale));
        int order = Collator.getInstance(locale).compare("č", "d");
        return day + " " + NumberFormat.getCurrencyInstance(locale).format(1234.5) + " " + order;
    }

    private static String tls() throws Exception {
        var context = javax.net.ssl.SSLContext.getDefault();
        var factory = javax.net.ssl.TrustManagerFactory.getInstance(
            javax.net.ssl.TrustManagerFactory.getDefaultAlgorithm());
        factory.init((java.security.KeyStore) null);
        var manager = (javax.net.ssl.X509TrustManager) factory.getTrustManagers()[0];
        return context.getProtocol() + " " + manager.getAcceptedIssuers().length;
    }

    private static String digest(String name) throws Exception {
        return HexFormat.of().formatHex(java.security.MessageDigest.getInstance(name).digest("minify".getBytes()));
    }

    private static String xml() throws Exception {
        var builder = javax.xml.parsers.DocumentBuilderFactory.newInstance().newDocumentBuilder();
        var document = builder.parse(new ByteArrayInputStream("<a><b>1</b><b>2</b></a>".getBytes()));
        var out = new java.io.StringWriter();
        javax.xml.transform.TransformerFactory.newInstance().newTransformer().transform(
            new javax.xml.transform.dom.DOMSource(document), new javax.xml.transform.stream.StreamResult(out));
        return out.toString();
    }

    private static String image(String kind) throws Exception {
        var picture = new BufferedImage(8, 8, BufferedImage.TYPE_INT_RGB);
        picture.setRGB(1, 1, Color.RED.getRGB());
        var out = new ByteArrayOutputStream();
        javax.imageio.ImageIO.write(picture, kind, out);
        var again = javax.imageio.ImageIO.read(new ByteArrayInputStream(out.toByteArray()));
        return again.getWidth() + "x" + again.getHeight() + " " + out.size();
    }

    private static String child() throws Exception {
        var java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        var process = new ProcessBuilder(java, "-cp", "/app/lib/app.jar", "sample.Child", "one").start();
        var text = new String(process.getInputStream().readAllBytes());
        return text.strip() + " " + process.waitFor();
    }

    private static String day() throws Exception {
        var process = new ProcessBuilder("date", "-u", "-d", "@86400", "+%F").start();
        return new String(process.getInputStream().readAllBytes()).strip() + " " + process.waitFor();
    }

    private static String text(String family) throws Exception {
        var picture = new BufferedImage(80, 20, BufferedImage.TYPE_INT_RGB);
        var g = picture.createGraphics();
        g.setFont(new java.awt.Font(family, java.awt.Font.PLAIN, 12));
        g.drawString("minify", 2, 14);
        int lit = 0;
        for (int x = 0; x < 80; x++) for (int y = 0; y < 20; y++) if ((picture.getRGB(x, y) & 0xffffff) != 0) lit++;
        return family + " " + (lit > 0) + " " + g.getFontMetrics().stringWidth("minify");
    }

    private static String temp() throws Exception {
        var file = Files.createTempFile("note", ".txt");
        Files.writeString(file, "for a moment");
        var text = Files.readString(file);
        Files.delete(file);
        return text;
    }

    private static String log() {
        java.util.logging.Logger.getLogger("sample").info("asked to log");
        return "logged";
    }

    private static String http(String path) throws Exception {
        var client = java.net.http.HttpClient.newHttpClient();
        var request = java.net.http.HttpRequest.newBuilder(java.net.URI.create("http://127.0.0.1:8080/prefs/" + path));
        return client.send(request.build(), java.net.http.HttpResponse.BodyHandlers.ofString()).body();
    }

    private Routes() {}
}
