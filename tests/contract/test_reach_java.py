"""Java: what one run did not load still works in the minified image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.reach_kit import compare, have_docker, minified

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not have_docker(), reason="no Docker engine with the base image"),
]

APP = r"""
import java.util.*;
public class App {
  static Object run(String word) throws Exception {
    switch (word) {
      case "first": return "ok";
      case "zone": return java.time.LocalDateTime.of(2024, 1, 1, 0, 0)
          .atZone(java.time.ZoneId.of("Asia/Tokyo")).toInstant();
      case "charset": return Arrays.toString("\u3042".getBytes("Shift_JIS"));
      case "locale": return java.text.NumberFormat.getInstance(Locale.GERMANY).format(1234.5);
      case "digest": return Arrays.toString(
          java.security.MessageDigest.getInstance("SHA-256").digest(new byte[1]));
      case "key": { var g = java.security.KeyPairGenerator.getInstance("EC"); g.initialize(256);
          return g.generateKeyPair().getPublic().getAlgorithm(); }
      case "tls": return javax.net.ssl.SSLContext.getDefault().getProtocol();
      case "xml": return javax.xml.parsers.DocumentBuilderFactory.newInstance()
          .newDocumentBuilder().newDocument().getNodeName();
      case "exec": return new String(new ProcessBuilder("/bin/sh", "-c", "echo hi").start()
          .getInputStream().readAllBytes());
      case "image": { var o = new java.io.ByteArrayOutputStream();
          javax.imageio.ImageIO.write(new java.awt.image.BufferedImage(2, 2, 1), "png", o);
          return o.size(); }
      case "lazy": return Class.forName("Lazy").getMethod("hi").invoke(null);
      case "resource": return new String(
          App.class.getResourceAsStream("/conf/x.txt").readAllBytes());
      case "log": return java.util.logging.LogManager.getLogManager().getClass().getName();
      case "management": return java.lang.management.ManagementFactory.getRuntimeMXBean() != null;
      case "http": return java.net.http.HttpClient.newHttpClient().version();
    }
    return null;
  }
  public static void main(String[] a) throws Exception { System.out.println(run(a[0])); }
}
"""
# The headless run-time has the compiler's classes, without a launcher for them.
COMPILER = (
    "public class C { public static void main(String[] a) { System.exit("
    "javax.tools.ToolProvider.getSystemJavaCompiler().run(null, null, null, a)); } }"
)


def test_what_was_not_seen_works(tmp_path: Path) -> None:
    (tmp_path / "App.java").write_text(APP)
    (tmp_path / "Lazy.java").write_text(
        'public class Lazy { public static String hi() { return "hi"; } }'
    )
    (tmp_path / "C.java").write_text(COMPILER)
    (tmp_path / "x.txt").write_text("resource")
    setup = (
        "mkdir -p classes/conf && cp x.txt classes/conf/ && "
        "java C.java -d classes App.java Lazy.java && rm *.java"
    )
    command = '["java", "-cp", "/srv/app/classes", "App"]'
    with minified(tmp_path, ("openjdk-17-jre-headless",), setup, command) as name:
        words = ["zone", "charset", "locale", "digest", "key", "tls", "xml", "exec", "image",
                 "lazy", "resource", "log", "management", "http"]  # fmt: skip
        compare(name, words)
