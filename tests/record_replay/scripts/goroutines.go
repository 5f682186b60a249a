// Goroutines on several threads: channels, mutexes, timers, preemption by signals, a garbage
// collector that runs beside, a child process and a server on loopback.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

type node struct {
	left, right *node
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{tree(depth - 1), tree(depth - 1)}
}

func (n *node) count() int {
	if n.left == nil {
		return 1
	}
	return 1 + n.left.count() + n.right.count()
}

func compute(rounds uint64) uint64 {
	value := uint64(88172645463325252)
	for i := uint64(0); i < rounds; i++ {
		value ^= value << 13
		value ^= value >> 7
		value ^= value << 17
	}
	return value
}

func pipeline() int {
	numbers, squares := make(chan int), make(chan int, 4)
	go func() {
		for i := 0; i < 2000; i++ {
			numbers <- i
		}
		close(numbers)
	}()
	var group sync.WaitGroup
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func() {
			for n := range numbers {
				squares <- n * n
			}
			group.Done()
		}()
	}
	go func() { group.Wait(); close(squares) }()
	sum := 0
	for n := range squares {
		sum += n
	}
	return sum
}

func echo() int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				scanner := bufio.NewScanner(connection)
				for scanner.Scan() {
					fmt.Fprintf(connection, "<%s>\n", scanner.Text())
				}
				connection.Close()
			}()
		}
	}()
	var group sync.WaitGroup
	var lock sync.Mutex
	total := 0
	for i := 0; i < 5; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			connection, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				panic(err)
			}
			reader := bufio.NewReader(connection)
			for k := 0; k < 20; k++ {
				fmt.Fprintf(connection, "%d-%d\n", i, k)
				line, _ := reader.ReadString('\n')
				lock.Lock()
				total += len(line)
				lock.Unlock()
			}
			connection.Close()
		}(i)
	}
	group.Wait()
	listener.Close()
	return total
}

func main() {
	runtime.GOMAXPROCS(4)
	fmt.Println("pipeline", pipeline())
	// One goroutine that never calls anything must not keep the others from running.
	results := make(chan uint64)
	for i := 0; i < 4; i++ {
		go func() { results <- compute(5000000) }()
	}
	same := true
	first := <-results
	for i := 0; i < 3; i++ {
		same = same && <-results == first
	}
	fmt.Println("computed", first, same)
	nodes := make(chan int)
	for i := 0; i < 4; i++ {
		go func() {
			sum := 0
			for k := 0; k < 5; k++ {
				sum += tree(12).count()
			}
			nodes <- sum
		}()
	}
	fmt.Println("nodes", <-nodes+<-nodes+<-nodes+<-nodes)
	runtime.GC()
	fmt.Println("echo", echo())
	select {
	case <-time.After(20 * time.Millisecond):
		fmt.Println("timer")
	case <-results:
	}
	out, err := exec.Command("sh", "-c", "echo from a child").Output()
	fmt.Printf("%s%v\n", out, err)
}
