"""Images that are not samples of good manners: each a Dockerfile, and what must hold for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.scenario import Scenario, Step

# Static programs and setcap, so that no case needs a compiler; built once, shared by all.
TOOLBOX = """
FROM debian:bookworm-slim
RUN apt-get update \\
 && apt-get install -y --no-install-recommends busybox-static libcap2-bin \\
 && rm -rf /var/lib/apt/lists/*
"""


def page(path: str = "/index.html", name: str = "page") -> Step:
    """Ask for a page."""
    return Step(name, "http", f"GET {path}")


@dataclass(frozen=True)
class Case:
    """An image, options of `minify build`, and what is asked of both images afterwards.

    `status` is the documented exit status; `says` must be among minify's words.
    """

    name: str
    dockerfile: str
    scenarios: tuple[Scenario, ...] = ()
    options: tuple[str, ...] = ()
    status: tuple[int, ...] = (0,)
    says: tuple[str, ...] = ()
    kept: tuple[str, ...] = field(default=())


GOOD = (
    Case(
        "scratch-static",
        """
FROM minify-tricky-toolbox AS tools
RUN mkdir /www && echo static >/www/index.html && echo other >/www/other.html
FROM scratch
COPY --from=tools /bin/busybox /busybox
COPY --from=tools /www /www
EXPOSE 8080
CMD ["/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
""",
        (Scenario("web", 8080, (page(), page("/other.html", "other"))),),
    ),
    Case(
        "ignores-sigterm",
        """
FROM minify-tricky-toolbox
RUN mkdir /www && echo stubborn >/www/index.html
EXPOSE 8080
CMD ["/bin/sh", "-c", "trap '' TERM; busybox httpd -f -p 8080 -h /www"]
""",
        (Scenario("web", 8080, (page(),)),),
        ("--stop-timeout", "1"),
    ),
    Case(
        "set-uid",
        """
FROM minify-tricky-toolbox
RUN cp /usr/bin/id /usr/local/bin/whoami-really && chmod 4755 /usr/local/bin/whoami-really
USER 1000
CMD ["/usr/local/bin/whoami-really", "-u"]
""",
        (Scenario("run"), Scenario("named", command=("/usr/local/bin/whoami-really", "-un"))),
        kept=("/usr/local/bin/whoami-really",),
    ),
    Case(
        "file-capabilities",
        """
FROM minify-tricky-toolbox
RUN cp /usr/bin/chown /usr/local/bin/give && setcap cap_chown=ep /usr/local/bin/give
USER 1000
CMD ["/bin/sh", "-c", "touch /tmp/a && /usr/local/bin/give 5:6 /tmp/a && stat -c %u:%g /tmp/a"]
""",
        (Scenario("run"),),
    ),
    Case(
        "hard-links",
        """
FROM minify-tricky-toolbox
RUN mkdir /tools && cp /bin/busybox /tools/busybox \\
 && ln /tools/busybox /tools/cat && ln /tools/busybox /tools/head \\
 && echo linked >/tools/note && ln /tools/note /tools/again
CMD ["/tools/cat", "/tools/note", "/tools/again"]
""",
        (Scenario("run"), Scenario("other name", command=("/tools/busybox", "true"))),
        kept=("/tools/cat", "/tools/note", "/tools/again"),
    ),
    Case(
        "volume-content",
        """
FROM minify-tricky-toolbox
RUN mkdir -p /data/sub && echo first >/data/index.html && echo second >/data/sub/index.html \\
 && chown -R 1000:1000 /data && chmod 750 /data
VOLUME /data
USER 1000
EXPOSE 8080
CMD ["busybox", "httpd", "-f", "-p", "8080", "-h", "/data"]
""",
        (Scenario("web", 8080, (page(), page("/sub/index.html", "deeper"))),),
    ),
    Case(
        "numeric-user",
        """
FROM minify-tricky-toolbox
RUN mkdir /www && echo nobody >/www/index.html
USER 4242:4343
EXPOSE 8080
CMD ["busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
""",
        (Scenario("web", 8080, (page(),)), Scenario("as another", 8080, (page(),), user="17")),
    ),
    Case(
        "healthcheck",
        """
FROM minify-tricky-toolbox
RUN mkdir /www && echo well >/www/index.html
EXPOSE 8080
HEALTHCHECK --interval=1s --retries=3 CMD busybox wget -q -O /dev/null http://127.0.0.1:8080/
CMD ["busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
""",
        (
            Scenario(
                "web",
                8080,
                (
                    page(),
                    Step(
                        "the check itself",
                        "exec",
                        argv=("/bin/sh", "-c", "busybox wget -q -O - http://127.0.0.1:8080/"),
                    ),
                ),
            ),
        ),
    ),
    Case(
        "several-processes",
        """
FROM minify-tricky-toolbox
RUN mkdir /one /two && echo one >/one/index.html && echo two >/two/index.html \\
 && printf '#!/bin/sh\\nbusybox httpd -f -p 8080 -h /one &\\nbusybox httpd -f -p 8081 -h /two &\\n\\
trap "kill 0" TERM\\nwait\\n' >/usr/local/bin/supervise && chmod 755 /usr/local/bin/supervise
EXPOSE 8080 8081
CMD ["supervise"]
""",
        (
            Scenario(
                "both",
                8080,
                (page(), Step("second", "http", "GET /index.html", port=8081)),
            ),
        ),
    ),
    Case(
        "init-takes-signals",  # tini waits for them with sigwait(3): it has no handler
        """
FROM minify-tricky-toolbox
RUN apt-get update && apt-get install -y --no-install-recommends tini \\
 && mkdir /srv/words && echo goodbye >/srv/words/last && echo never >/srv/words/never \\
 && printf '#!/bin/sh\\ntrap "busybox cat /srv/words/last; exit 0" TERM\\n\\
busybox httpd -f -p 8080 -h /srv &\\nwhile :; do busybox sleep 0.05; done\\n' \\
 >/usr/local/bin/serve \\
 && chmod 755 /usr/local/bin/serve
EXPOSE 8080
ENTRYPOINT ["tini", "-g", "--"]
CMD ["serve"]
""",
        options=("--keep-level", "exact", "--tcp-probe", "8080"),
        kept=("/srv/words/last",),
    ),
    Case(
        "listens-before-it-is-up",
        """
FROM minify-tricky-toolbox
RUN mkdir /srv/words && echo said >/srv/words/said \\
 && printf '#!/bin/sh\\nbusybox httpd -f -p 8080 -h /srv &\\n\\
busybox sleep 1\\ntouch /tmp/up\\nwait\\n' >/usr/local/bin/serve && chmod 755 /usr/local/bin/serve
EXPOSE 8080
HEALTHCHECK CMD ["/usr/bin/test", "-e", "/tmp/up"]
CMD ["serve"]
""",
        (Scenario("web", 8080, (page("/words/said"),)),),
        ("--tcp-probe", "8080", "--exec-probe", "/usr/bin/test -e /tmp/up"),
    ),
    Case(
        "unicode-names",
        """
FROM minify-tricky-toolbox
RUN mkdir '/www-ěščř' && cd '/www-ěščř' && echo home >index.html \\
 && echo horse >'kůň a kráva.html' \\
 && echo raw >"$(printf 'raw-\\\\377.html')" && mkdir "quote'\\"s" && echo q >"quote'\\"s/q.html"
WORKDIR /www-ěščř
EXPOSE 8080
CMD ["busybox", "httpd", "-f", "-p", "8080", "-h", "."]
""",
        (
            Scenario(
                "web",
                8080,
                (
                    page(),
                    page("/k%C5%AF%C5%88%20a%20kr%C3%A1va.html", "accents and spaces"),
                    page("/raw-%FF.html", "no UTF-8"),
                    page("/quote%27%22s/q.html", "quotes"),
                ),
            ),
        ),
    ),
    Case(
        "relative-exec",
        """
FROM minify-tricky-toolbox
WORKDIR /srv/app
RUN printf '#!/bin/sh\\n. ./lib.sh\\nsay "$@"\\n' >run.sh \\
 && printf 'say() { echo "said $*"; }\\n' >lib.sh \\
 && chmod 755 run.sh && ln -s run.sh start
ENTRYPOINT ["./start"]
CMD ["hello"]
""",
        (Scenario("run"), Scenario("another word", command=("bye", "now"))),
    ),
    Case(
        "exit-status",
        """
FROM minify-tricky-toolbox
CMD ["/bin/sh", "-c", "echo done; exit 5"]
""",
        (Scenario("run"),),
    ),
    Case(
        "own-dynamic-paths",
        """
FROM minify-tricky-toolbox
RUN mkdir -p /opt/lib && cp /lib/*/libc.so.6 /opt/lib/ && cp /usr/bin/env /opt/tool
ENV LD_LIBRARY_PATH=/opt/lib
CMD ["/opt/tool", "printf", "%s\\\\n", "found"]
""",
        (Scenario("run"),),
    ),
)

BAD = (
    Case(
        "missing-entrypoint",
        'FROM minify-tricky-toolbox\nENTRYPOINT ["/no/such/program"]\n',
        status=(5, 6),
        says=("/no/such/program",),
    ),
    Case(
        "never-ready",
        """
FROM minify-tricky-toolbox
EXPOSE 8080
CMD ["/bin/sh", "-c", "echo waiting for something; exec sleep 300"]
""",
        options=("--ready-timeout", "2", "--stop-timeout", "1"),
        status=(6,),
        says=("waiting for something",),
    ),
    Case(
        "crashes",
        """
FROM minify-tricky-toolbox
EXPOSE 8080
CMD ["/bin/sh", "-c", "echo the configuration is broken >&2; exit 3"]
""",
        status=(6,),
        says=("the configuration is broken",),
    ),
)
