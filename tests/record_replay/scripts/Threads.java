// Threads, a just-in-time compiler and a garbage collector beside the program.
import java.util.ArrayList;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

public class Threads {
  static long compute(long rounds) {
    long value = 88172645463325252L;
    for (long i = 0; i < rounds; i++) {
      value ^= value << 13;
      value ^= value >>> 7;
      value ^= value << 17;
    }
    return value;
  }

  public static void main(String[] arguments) throws Exception {
    var pool = Executors.newFixedThreadPool(3);
    var results = new ArrayList<Future<Long>>();
    for (int i = 0; i < 6; i++) results.add(pool.submit(() -> compute(2_000_000)));
    long sum = 0;
    for (var each : results) sum += each.get();
    System.out.println("sum " + sum);
    var kept = new ArrayList<int[]>();
    for (int i = 0; i < 20000; i++) {
      var block = new int[100];
      block[0] = i;
      if (i % 100 == 0) kept.add(block);
    }
    System.out.println("kept " + kept.size() + " " + kept.get(50)[0]);
    pool.shutdown();
  }
}
