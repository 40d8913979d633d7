// Package roster adds to the stubs a connection, the reason of an error, and operations of several calls. It does not
// parse flags or print.
package roster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	usersv1 "example.com/rosterclient/gen/users/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// Updates are not listed because a retry would fail if the first attempt succeeded and its answer was lost. Creates may run
// twice because they always have a request id here.
var (
	mayRunTwice = []string{"CreateUser", "GetUser", "GetUserByEmail", "ListUsers", "BatchGetUsers"}
	once        = []string{"UpdateUser", "DeleteUser", "ImportUsers"}
)

const (
	messageUsersMax = 200
	editAttemptsMax = 5
	waitMax         = 5 * time.Second
)

// Options configure the connection to the directory.
type Options struct {
	Address string
	// Deadline applies to each call except endless streams.
	Deadline time.Duration
	TLS      bool
	// CA contains trusted authorities in PEM. Default: the system's authorities.
	CA []byte
	// Token is sent only over TLS or to this machine.
	Token string
}

// Dial returns a connection that connects on the first call.
func Dial(options Options) (*grpc.ClientConn, error) {
	transport, err := transportCredentials(options)
	if err != nil {
		return nil, err
	}
	dialOptions := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig(options.Deadline)),
		// Without pings, a watch on a dead connection would wait forever.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}
	if options.Token != "" {
		dialOptions = append(dialOptions, grpc.WithPerRPCCredentials(bearer(options.Token)))
	}
	return grpc.NewClient(options.Address, dialOptions...)
}

func transportCredentials(options Options) (credentials.TransportCredentials, error) {
	if options.TLS {
		config := &tls.Config{}
		if options.CA != nil {
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(options.CA) {
				return nil, errors.New("the CA file contains no certificate")
			}
		}
		return credentials.NewTLS(config), nil
	}
	if options.Token != "" {
		// Without TLS a token is sent only to this machine: local credentials reject every other peer.
		return local.NewCredentials(), nil
	}
	return insecure.NewCredentials(), nil
}

type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

// RequireTransportSecurity returns false because transportCredentials handles this, and allows loopback.
func (bearer) RequireTransportSecurity() bool { return false }

func serviceConfig(deadline time.Duration) string {
	timeout := fmt.Sprintf("%.3fs", deadline.Seconds())
	config, _ := json.Marshal(map[string]any{"methodConfig": []any{
		map[string]any{
			"name":    names(mayRunTwice),
			"timeout": timeout,
			"retryPolicy": map[string]any{
				// About 5 s in total, because a failed connection is retried only after 1 s.
				"maxAttempts":          5,
				"initialBackoff":       "0.2s",
				"maxBackoff":           "3s",
				"backoffMultiplier":    3,
				"retryableStatusCodes": []string{"UNAVAILABLE"},
			},
		},
		map[string]any{"name": names(once), "timeout": timeout},
	}})
	return string(config)
}

func names(methods []string) []any {
	var names []any
	for _, method := range methods {
		names = append(names, map[string]string{"service": "users.v1.UserService", "method": method})
	}
	return names
}

// Reason returns the stable reason, such as "EMAIL_TAKEN". Branch on it if the code is not enough. It may be empty.
func Reason(err error) string {
	return detail[*errdetails.ErrorInfo](err).GetReason()
}

// Violations returns all invalid fields of the request, with what is allowed.
func Violations(err error) []*errdetails.BadRequest_FieldViolation {
	return detail[*errdetails.BadRequest](err).GetFieldViolations()
}

// detail returns nil if the directory sent no such detail. Getters of nil return empty values.
func detail[T proto.Message](err error) (none T) {
	for _, detail := range status.Convert(err).Details() {
		if wanted, ok := detail.(T); ok {
			return wanted
		}
	}
	return none
}

// EditUser reads a user, calls edit, which changes it and returns the changed paths, and writes these paths. If another
// caller has changed the user meanwhile, it calls edit again with the current user, so that no change is lost.
func EditUser(
	ctx context.Context, users usersv1.UserServiceClient, id string, edit func(*usersv1.User) ([]string, error),
) (*usersv1.User, error) {
	for attempt := 1; ; attempt++ {
		read, err := users.GetUser(ctx, &usersv1.GetUserRequest{Id: id})
		if err != nil {
			return nil, err
		}
		paths, err := edit(read.User)
		if err != nil {
			return nil, err
		}
		updated, err := users.UpdateUser(ctx, &usersv1.UpdateUserRequest{
			User:       read.User,
			UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
		})
		if err == nil {
			return updated.User, nil
		}
		if Reason(err) != "ETAG_MISMATCH" || attempt == editAttemptsMax {
			return nil, err
		}
	}
}

// ListPages yields every page. Only an empty next_page_token marks the last page.
func ListPages(
	ctx context.Context, users usersv1.UserServiceClient, request *usersv1.ListUsersRequest,
) iter.Seq2[*usersv1.ListUsersResponse, error] {
	return func(yield func(*usersv1.ListUsersResponse, error) bool) {
		next := proto.CloneOf(request)
		for {
			page, err := users.ListUsers(ctx, next)
			if !yield(page, err) || err != nil || page.NextPageToken == "" {
				return
			}
			next.PageToken = page.NextPageToken
		}
	}
}

// ImportUsers creates or updates all people in one transaction at the end. If people fails, the stream ends without
// total_rows, and nothing is written.
func ImportUsers(
	ctx context.Context, users usersv1.UserServiceClient, people iter.Seq2[*usersv1.User, error],
) (*usersv1.ImportUsersResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := users.ImportUsers(ctx)
	if err != nil {
		return nil, err
	}
	message := &usersv1.ImportUsersRequest{
		Options: &usersv1.ImportOptions{OnConflict: usersv1.ImportOptions_ON_CONFLICT_UPDATE},
	}
	var rows int64
	for user, err := range people {
		if err != nil {
			return nil, err
		}
		message.Users = append(message.Users, user)
		rows++
		if len(message.Users) < messageUsersMax {
			continue
		}
		// EOF means that the server has already answered; CloseAndRecv returns the answer.
		if err := stream.Send(message); err == io.EOF {
			return stream.CloseAndRecv()
		} else if err != nil {
			return nil, err
		}
		message = &usersv1.ImportUsersRequest{}
	}
	message.TotalRows = &rows
	if err := stream.Send(message); err != nil && err != io.EOF {
		return nil, err
	}
	return stream.CloseAndRecv()
}

// FollowUsers yields the messages of a watch after token (or from now, if it is empty) until the caller leaves the loop.
// If the connection ends, it resumes after the last token over another connection of connect. Store the token together
// with the result of the changes. It returns RESUME_TOKEN_EXPIRED as an error; then all users must be read again
// (docs/watch.md).
func FollowUsers(
	ctx context.Context, connect func() (*grpc.ClientConn, error), token string, onDisconnect func(error),
) iter.Seq2[*usersv1.WatchUsersResponse, error] {
	return func(yield func(*usersv1.WatchUsersResponse, error) bool) {
		for failures := 0; ; failures++ {
			more := true
			err := watchOnce(ctx, connect, token, func(message *usersv1.WatchUsersResponse) bool {
				failures, token = 0, message.ResumeToken
				more = yield(message, nil)
				return more
			})
			if !more {
				return
			}
			if ctx.Err() != nil || !isTransient(err) {
				yield(nil, err)
				return
			}
			onDisconnect(err)
			// Half of the wait is random, so that the watchers of a restarting server do not return all at once.
			wait := min(waitMax, 100*time.Millisecond<<min(failures, 10))
			select {
			case <-time.After(wait/2 + rand.N(wait/2)):
			case <-ctx.Done():
			}
		}
	}
}

// watchOnce reads from one connection until it ends or take returns false.
func watchOnce(
	ctx context.Context, connect func() (*grpc.ClientConn, error), token string,
	take func(*usersv1.WatchUsersResponse) bool,
) error {
	connection, err := connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := usersv1.NewUserServiceClient(connection).WatchUsers(ctx, &usersv1.WatchUsersRequest{ResumeToken: token})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		if !take(message) {
			return nil
		}
	}
}

// isTransient reports whether another attempt may succeed.
func isTransient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted:
		return true
	case codes.Internal, codes.Unknown:
		// Without a reason the error is not from the directory, but from something on the way to it.
		return Reason(err) == ""
	}
	return false
}
