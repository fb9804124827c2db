function add(a, b) return a + b end

function fib(n)
  if n < 2 then return n end
  return fib(n - 1) + fib(n - 2)
end

function rounds(n)
  local sum = 0
  for _ = 1, n do sum = host_next(sum) end
  return sum
end
