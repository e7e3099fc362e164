"""Ruby: what one run did not load still works in the minified image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.reach_kit import compare, have_docker, minified

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not have_docker(), reason="no Docker engine with the base image"),
]

APP = r"""
puts case ARGV[0]
when 'first' then 'ok'
when 'json' then require 'json'; JSON.pretty_generate(a: 1)
when 'encode' then %w[Shift_JIS Big5].map { |e| "\u6f22".encode(e).bytes.inspect }
when 'normal' then "e\u0301".unicode_normalize(:nfc).length
when 'digest' then require 'digest'; Digest::SHA512.hexdigest('x')
when 'yaml' then require 'yaml'; { 'a' => [1] }.to_yaml
when 'csv' then require 'csv'; CSV.parse("a,b\n1,2").inspect
when 'ssl' then require 'openssl'; OpenSSL::Digest::SHA256.hexdigest('x')
when 'date' then require 'date'; Date.parse('3rd Feb 2001').to_s
when 'mean' then begin; 'x'.upcasee; rescue NoMethodError => e; e.message; end
when 'lazy' then require_relative "lib/#{ARGV[0]}"; Lazy.hi
when 'erb' then require 'erb'; ERB.new(File.read("#{__dir__}/page.erb")).result
when 'rack' then require 'rack'; Rack::Utils.escape_html('<') + Rack::Mime.mime_type('.css')
when 'mustermann' then require 'mustermann'; Mustermann.new('/:a').params('/b').inspect
when 'zlib' then require 'zlib'; Zlib.crc32('x')
when 'set' then require 'set'; Set.new([1, 1]).size
end
"""


def test_what_was_not_seen_works(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "app.rb").write_text(APP)
    (tmp_path / "lib" / "lazy.rb").write_text(
        "require 'erb'\nmodule Lazy\ndef self.hi = 'hi'\nend\n"
    )
    (tmp_path / "page.erb").write_text("<%= 1 + 1 %>")
    packages = ("ruby", "ruby-rack", "ruby-mustermann")
    with minified(tmp_path, packages, "", '["ruby", "app.rb"]') as name:
        words = ["json", "encode", "normal", "digest", "yaml", "csv", "ssl", "date", "mean",
                 "lazy", "erb", "rack", "mustermann", "zlib", "set"]  # fmt: skip
        compare(name, words)
