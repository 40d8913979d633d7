// Serves ecommerce.ProductInfo over gRPC, and for comparison as JSON over HTTP, until it receives a signal.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"example.com/shopping/product-info/ecommerce"
)

//go:generate buf generate

// Calls take milliseconds, so a call that is still running after this time hangs.
const stopMax = 2 * time.Second

func main() {
	grpcAddress := flag.String("grpc", "127.0.0.1:0", "where gRPC listens; port 0 picks a free one")
	httpAddress := flag.String("http", "", "address for JSON; disabled if empty")
	spans := flag.Bool("spans", true, "log calls that are part of a trace")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *grpcAddress, *httpAddress, *spans); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, grpcAddress, httpAddress string, spans bool) error {
	products := newProducts()
	listener, err := net.Listen("tcp", grpcAddress)
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{
		// Without this, gRPC treats pings every 30 s as an attack.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 20 * time.Second}),
	}
	if spans {
		options = append(options, grpc.UnaryInterceptor(logSpan))
	}
	server := grpc.NewServer(options...)
	ecommerce.RegisterProductInfoServer(server, products)

	httpListening := ""
	if httpAddress != "" {
		httpListener, err := net.Listen("tcp", httpAddress)
		if err != nil {
			return err
		}
		httpListening = httpListener.Addr().String()
		go http.Serve(httpListener, productsAsJSON(products))
	}

	go func() {
		<-ctx.Done()
		// GracefulStop waits for calls without a limit.
		time.AfterFunc(stopMax, server.Stop)
		server.GracefulStop()
	}()
	slog.Info("listening", "grpc", listener.Addr().String(), "http", httpListening)
	return server.Serve(listener)
}
