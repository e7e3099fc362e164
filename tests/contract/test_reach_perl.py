"""Perl: what one run did not load still works in the minified image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.reach_kit import compare, have_docker, minified

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not have_docker(), reason="no Docker engine with the base image"),
]

APP = r"""
use strict; use warnings; use FindBin; use lib "$FindBin::Bin/lib";
my %do = (
 first => sub { 'ok' },
 encode => sub { require Encode; unpack 'H*', Encode::encode('shiftjis', "\x{3042}") },
 posix => sub { require POSIX; POSIX::strftime('%Y', gmtime 0) },
 json => sub { require JSON::PP; JSON::PP->new->canonical->encode({ a => 1 }) },
 sha => sub { require Digest::SHA; Digest::SHA::sha256_hex('x') },
 names => sub { "\N{GREEK SMALL LETTER ALPHA}" eq "\x{3b1}" ? 'alpha' : 'no' },
 normal => sub { require Unicode::Normalize; length Unicode::Normalize::NFC("e\x{301}") },
 big => sub { require Math::BigInt; Math::BigInt->new('9' x 30)->bmul(3)->bstr },
 memory => sub { open my $f, '<', \"abc" or die $!; scalar <$f> },
 layer => sub { open my $f, '>:encoding(iso-8859-15)', \my $b or die $!; print $f "\x{20ac}";
                close $f; unpack 'H*', $b },
 glob => sub { scalar(@{[glob '/etc/passw?']}) },
 named => sub { 'ab' =~ /(?<x>a)/; $+{x} },
 errno => sub { open my $f, '<', '/nope'; $!{ENOENT} ? 'absent' : 'no' },
 config => sub { require Config; $Config::Config{cc} },
 lazy => sub { my $m = 'My::Lazy'; eval "require $m" or die $@; My::Lazy::hi() },
 piece => sub { require Time::Piece; Time::Piece::gmtime(0)->year },
);
print $do{$ARGV[0]}->(), "\n";
"""


def test_what_was_not_seen_works(tmp_path: Path) -> None:
    (tmp_path / "lib" / "My").mkdir(parents=True)
    (tmp_path / "app.pl").write_text(APP)
    (tmp_path / "lib" / "My" / "Lazy.pm").write_text(
        "package My::Lazy;\nuse Text::Wrap;\nsub hi { Text::Wrap::wrap('', ' ', 'hi') }\n1;\n"
    )
    with minified(tmp_path, ("perl",), "", '["perl", "app.pl"]') as name:
        words = ["encode", "posix", "json", "sha", "names", "normal", "big", "memory", "layer",
                 "glob", "named", "errno", "config", "lazy", "piece"]  # fmt: skip
        compare(name, words)
