require 'pstore'
puts 'child'
