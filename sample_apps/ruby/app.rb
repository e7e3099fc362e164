# A small service that requires much of what it needs only when a request asks for it.
require 'sinatra/base'
require 'json'

class App < Sinatra::Base
  autoload :Greeter, File.join(__dir__, 'lib', 'greeter.rb')
  set :root, __dir__
  set :show_exceptions, false
  set :raise_errors, false

  get('/') { "hello\n" }

  get '/time/*' do |zone|
    require 'tzinfo'
    TZInfo::Timezone.get(zone).to_local(Time.utc(2024, 7, 1, 12)).strftime('%F %T %z')
  end

  get '/text/:lang' do |lang|
    require 'i18n'
    I18n.load_path = Dir[File.join(__dir__, 'locales', '*.yml')]
    I18n.with_locale(lang) { I18n.t(:hello) }
  end

  get '/xml' do
    require 'nokogiri'
    Nokogiri::XML('<a><b>1</b></a>').at_css('b').text
  end

  get '/rexml' do
    require 'rexml/document'
    REXML::Document.new('<a><b>2</b></a>').root.elements['b'].text
  end

  get '/encode/:name' do |name|
    'Grüße 日本'.encode(name, undef: :replace, invalid: :replace).unpack1('H*')
  end

  get '/view/:name' do |name|
    erb name.to_sym, locals: { name: name }
  end

  get '/plugin/:name' do |name|
    require_relative "lib/plugins/#{name}"
    Plugins.const_get(name.capitalize).call
  end

  get('/greet') { Greeter.new.greet }

  get '/digest/:name' do |name|
    require 'openssl'
    OpenSSL::Digest.new(name).hexdigest('minify')
  end

  get '/tls' do
    require 'openssl'
    OpenSSL::SSL::SSLContext.new.ciphers.length.positive?.to_s
  end

  get '/csv' do
    require 'csv'
    CSV.parse("a,b\n1,\"2,3\"\n", headers: true).map(&:to_h).to_json
  end

  get '/yaml' do
    require 'yaml'
    YAML.dump({ 'a' => [1, nil, 2.5] })
  end

  get '/bigdecimal' do
    require 'bigdecimal/util'
    ('1'.to_d / 7).round(20).to_s
  end

  get '/zlib' do
    require 'zlib'
    Zlib.inflate(Zlib.deflate('again ' * 20))
  end

  get '/host' do
    require 'socket'
    Addrinfo.getaddrinfo('localhost', 80, :INET, :STREAM).map(&:ip_address).uniq.to_json
  end

  get '/user' do
    require 'etc'
    (Etc.getpwuid&.name || 'nobody in particular')
  rescue ArgumentError
    'nobody in particular'
  end

  get '/temp' do
    require 'tempfile'
    Tempfile.create { |file| file.write('x' * 9); file.flush; File.size(file.path).to_s }
  end

  get '/child' do
    require 'open3'
    out, status = Open3.capture2e(RbConfig.ruby, File.join(__dir__, 'lib', 'child.rb'))
    "#{out.strip} #{status.exitstatus}"
  end

  get('/crash') { raise 'on purpose' }

  not_found { erb :missing, locals: { name: request.path } }
  error { erb :trouble, locals: { name: env['sinatra.error'].class.name } }
end
