// The echo service of the SDK suite, as in the other languages: a task's output is its input, unless the input is a word it knows.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"

	pb "flame/examples/wordlen/flamev1"
)

type echo struct {
	pb.UnimplementedInstanceServer
	common []byte
	tasks  int
}

func (e *echo) OnSessionEnter(_ context.Context, in *pb.SessionContext) (*pb.Result, error) {
	e.common = in.CommonData
	if string(e.common) == "refuse" {
		message := "asked to refuse"
		return &pb.Result{ReturnCode: 1, Message: &message}, nil
	}
	return &pb.Result{}, nil
}

func (e *echo) OnTaskInvoke(ctx context.Context, in *pb.TaskContext) (*pb.TaskResult, error) {
	e.tasks++
	output := in.Input
	switch string(in.Input) {
	case "common":
		output = e.common
	case "count":
		output = fmt.Append(nil, e.tasks)
	case "pid":
		output = fmt.Append(nil, os.Getpid())
	case "fail":
		message := "asked to fail"
		return &pb.TaskResult{ReturnCode: 7, Message: &message}, nil
	case "exit":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	case "wait":
		<-ctx.Done() // the call is cancelled
		return nil, ctx.Err()
	}
	return &pb.TaskResult{Output: output}, nil
}

func (e *echo) OnSessionLeave(context.Context, *pb.EmptyRequest) (*pb.Result, error) {
	fmt.Printf("left after %d tasks\n", e.tasks)
	return &pb.Result{}, nil
}

func main() {
	listener, err := net.Listen("unix", os.Getenv("FLAME_INSTANCE_ENDPOINT"))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterInstanceServer(server, &echo{})
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; server.GracefulStop() }()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
