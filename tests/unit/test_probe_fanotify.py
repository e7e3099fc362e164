"""The pure parts of the fanotify watcher."""

from __future__ import annotations

from probes import watch_fanotify as probe
from probes.watch_fanotify import Mount

INSIDE = r"""
600 500 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/l
601 600 0:51 / /proc rw,nosuid - proc proc rw
602 600 0:52 / /dev rw,nosuid - tmpfs tmpfs rw
603 602 0:53 / /dev/shm rw,nosuid - tmpfs shm rw
604 600 8:1 /volumes/v /with\040blank rw,relatime master:1 - ext4 /dev/sda1 rw
605 600 8:1 /etc-hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
606 600 0:54 / /scratch rw,relatime - tmpfs tmpfs rw
607 606 0:55 / /scratch rw,relatime - tmpfs tmpfs rw
608 600 8:1 /kit /.minify/kit ro - ext4 /dev/sda1 rw
609 601 0:51 /asound /proc/asound ro - proc proc rw
"""
OUTSIDE = r"""
20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
21 20 0:50 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw
22 20 0:60 / /run rw - tmpfs tmpfs rw
"""


def test_mountinfo_is_read_with_its_escapes() -> None:
    mounts = probe.parse_mountinfo(INSIDE)
    assert Mount("/with blank", "8:1", "ext4") in mounts
    assert Mount("/", "0:50", "overlay") in mounts


def test_only_mounts_that_can_hold_files_are_chosen_the_topmost_of_a_stack() -> None:
    chosen = probe.choose(probe.parse_mountinfo(INSIDE), None)
    assert [m.target for m in chosen] == ["/", "/with blank", "/etc/hosts", "/scratch"]
    assert chosen[-1].device == "0:55"


def test_wanted_mounts_narrow_the_choice() -> None:
    chosen = probe.choose(probe.parse_mountinfo(INSIDE), ["/", "/gone"])
    assert [m.target for m in chosen] == ["/"]


def test_only_file_systems_of_the_container_alone_are_marked_whole() -> None:
    outside = probe.parse_mountinfo(OUTSIDE)
    inside = {m.target: m for m in probe.parse_mountinfo(INSIDE)}
    assert probe.own_filesystem(inside["/"], outside)
    assert probe.own_filesystem(inside["/scratch"], outside)
    assert not probe.own_filesystem(inside["/with blank"], outside)
    assert not probe.own_filesystem(Mount("/v", "0:60", "tmpfs"), outside)
    assert not probe.own_filesystem(Mount("/", "0:9", "overlay"), [Mount("/", "0:9", "overlay")]), (
        "the container shares its root with the host"
    )


def test_the_engine_s_own_view_is_known() -> None:
    outside = probe.parse_mountinfo(OUTSIDE)
    views = probe.host_views(probe.parse_mountinfo(INSIDE), outside)
    assert views == ["/var/lib/docker/overlay2/abc/merged"]
    assert probe.below("/var/lib/docker/overlay2/abc/merged/etc", views[0])
    assert not probe.below("/var/lib/docker/overlay2/abc/merged2", views[0])
    assert probe.below("/etc", "/")


def test_deleted_names() -> None:
    assert probe.names("/a", 1) == ["/a"]
    assert probe.names("/a (deleted)", 0) == ["/a"]
    assert probe.names("/a (deleted)", 1) == ["/a", "/a (deleted)"]
    assert probe.names("pipe:[1]", 1) == []
