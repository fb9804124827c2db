let () =
  Callback.register "add" Guest.add;
  Callback.register "fib" Guest.fib;
  Callback.register "rounds" Guest.rounds
