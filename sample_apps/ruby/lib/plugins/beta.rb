require 'matrix'
module Plugins
  Beta = -> { Matrix[[1, 2], [3, 4]].determinant.to_s }
end
