class App::Greeter
  def greet = "autoloaded"
end
