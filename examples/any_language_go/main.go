// A Flame service in Go: counts the words of each task's input. The engine starts it, one process per executor, and speaks
// flame.v1.Instance to it on the unix socket named by FLAME_INSTANCE_ENDPOINT.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"

	pb "flame/examples/wordlen/flamev1"
)

type service struct {
	pb.UnimplementedInstanceServer
	session string
	tasks   int
}

func (s *service) OnSessionEnter(_ context.Context, in *pb.SessionContext) (*pb.Result, error) {
	s.session = in.SessionId
	return &pb.Result{}, nil
}

// Calls never overlap, so the counter needs no lock.
func (s *service) OnTaskInvoke(_ context.Context, in *pb.TaskContext) (*pb.TaskResult, error) {
	if in.Input == nil {
		message := "the task has no input"
		return &pb.TaskResult{ReturnCode: 1, Message: &message}, nil
	}
	s.tasks++
	return &pb.TaskResult{Output: fmt.Appendf(nil, "%d", len(strings.Fields(string(in.Input))))}, nil
}

func (s *service) OnSessionLeave(context.Context, *pb.EmptyRequest) (*pb.Result, error) {
	log.Printf("session %s: %d tasks", s.session, s.tasks)
	return &pb.Result{}, nil
}

func main() {
	listener, err := net.Listen("unix", os.Getenv("FLAME_INSTANCE_ENDPOINT"))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterInstanceServer(server, &service{})
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; server.GracefulStop() }()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
