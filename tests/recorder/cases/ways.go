// A server of Go's library, whose /slow takes about a second in one of many ways.
//
// usage: ways PORT WAY [UPSTREAM_PORT]
//
// sleep    the goroutine sleeps               mutex     it holds a mutex, which /fast wants, too
// channel  /fast waits for what /slow sends   upstream  asks another server
// compute  computes, with one processor       child     waits for a child process
// one      no library: one goroutine serves one client after the other, and sleeps
// syscall  the same, and it sleeps in a system call
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	way   = os.Args[2]
	mutex sync.Mutex
	done  = make(chan bool)
)

func slow() {
	switch way {
	case "mutex":
		mutex.Lock()
		time.Sleep(time.Second)
		mutex.Unlock()
	case "channel":
		time.Sleep(time.Second)
		close(done)
	case "upstream":
		answer, err := http.Get("http://127.0.0.1:" + os.Args[3] + "/slow")
		if err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	case "compute":
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
		}
	case "child":
		exec.Command("sleep", "1").Run()
	case "syscall":
		syscall.Nanosleep(&syscall.Timespec{Sec: 1}, nil)
	default:
		time.Sleep(time.Second)
	}
}

func fast() {
	if way == "mutex" {
		mutex.Lock()
		mutex.Unlock()
	}
	if way == "channel" && begun {
		<-done
	}
}

var begun bool

func answer(path string) {
	if path == "/slow" {
		begun = true
		slow()
	} else {
		fast()
	}
}

func oneAfterTheOther(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		reader := bufio.NewReader(client)
		line, _ := reader.ReadString('\n')
		for field := " "; strings.TrimSpace(field) != ""; {
			field, err = reader.ReadString('\n')
			if err != nil {
				break
			}
		}
		if words := strings.Fields(line); len(words) > 1 {
			answer(words[1])
			fmt.Fprint(client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")
		}
		client.Close()
	}
}

func main() {
	if way == "compute" {
		runtime.GOMAXPROCS(1)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		panic(err)
	}
	if way == "one" || way == "syscall" {
		oneAfterTheOther(listener)
	}
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(r.URL.Path)
		io.WriteString(w, "done")
	}))
}
