package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"regexp"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// https://www.w3.org/TR/trace-context/#traceparent-header: version, trace, span of the caller, flags.
var traceparent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)

// logSpan writes one line for each call that is part of a trace: its span, its caller's span, and the remaining time at its
// start. It logs no personal data.
func logSpan(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	started := time.Now()
	response, err := handle(ctx, request)
	sent := metadata.ValueFromIncomingContext(ctx, "traceparent")
	if len(sent) != 1 {
		return response, err
	}
	parts := traceparent.FindStringSubmatch(sent[0])
	if parts == nil {
		return response, err
	}
	line := []any{
		"name", info.FullMethod[1:], "service", "product-info", "traceId", parts[1], "spanId", newSpanID(), "parentId", parts[2],
		"startMs", float64(started.UnixMicro()) / 1000, "durationMs", float64(time.Since(started).Microseconds()) / 1000,
		"status", status.Code(err).String(),
	}
	if deadline, ok := ctx.Deadline(); ok {
		line = append(line, "deadlineMs", deadline.Sub(started).Milliseconds())
	}
	slog.Info("span", line...)
	return response, err
}

func newSpanID() string {
	id := make([]byte, 8)
	rand.Read(id)
	return hex.EncodeToString(id)
}
