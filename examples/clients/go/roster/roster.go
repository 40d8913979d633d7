// Package roster is what a program needs around the stubs: a connection, the reason of an error, and what takes more than
// one call. It knows nothing of options or of what is printed.
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

// An update that succeeded without our hearing of it would fail the second time, so it is not among them. A create may
// run twice because it always has a request id here.
var (
	mayRunTwice = []string{"CreateUser", "GetUser", "GetUserByEmail", "ListUsers", "BatchGetUsers"}
	once        = []string{"UpdateUser", "DeleteUser", "ImportUsers"}
)

const (
	messageUsersMax = 200
	editAttemptsMax = 5
	waitMax         = 5 * time.Second
)

// Options say where the directory is and how it is called.
type Options struct {
	Address string
	// Deadline is each call's, streams that do not end aside.
	Deadline time.Duration
	TLS      bool
	// CA holds authorities in PEM; without it the system's are trusted.
	CA []byte
	// Token goes over TLS, or to this machine.
	Token string
}

// Dial connects with the first call.
func Dial(options Options) (*grpc.ClientConn, error) {
	transport, err := transportCredentials(options)
	if err != nil {
		return nil, err
	}
	dialOptions := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig(options.Deadline)),
		// Else a watch whose connection died without a word would wait for ever.
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
				return nil, errors.New("there is no certificate in the CA's file")
			}
		}
		return credentials.NewTLS(config), nil
	}
	if options.Token != "" {
		// In the clear a token goes to this machine only: these refuse every other peer when they connect.
		return local.NewCredentials(), nil
	}
	return insecure.NewCredentials(), nil
}

type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

// RequireTransportSecurity leaves that to transportCredentials, which knows loopback.
func (bearer) RequireTransportSecurity() bool { return false }

func serviceConfig(deadline time.Duration) string {
	timeout := fmt.Sprintf("%.3fs", deadline.Seconds())
	config, _ := json.Marshal(map[string]any{"methodConfig": []any{
		map[string]any{
			"name":    names(mayRunTwice),
			"timeout": timeout,
			"retryPolicy": map[string]any{
				// About 5 s in all: a connection that fails is not tried again for 1 s.
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

// Reason is stable, such as "EMAIL_TAKEN": what to branch on where the code is not enough. Empty where there is none.
func Reason(err error) string {
	return detail[*errdetails.ErrorInfo](err).GetReason()
}

// Violations are all the bad fields of the request, with what is allowed there.
func Violations(err error) []*errdetails.BadRequest_FieldViolation {
	return detail[*errdetails.BadRequest](err).GetFieldViolations()
}

// detail is nil where no directory sent one; the getters of nil give empty values.
func detail[T proto.Message](err error) (none T) {
	for _, detail := range status.Convert(err).Details() {
		if wanted, ok := detail.(T); ok {
			return wanted
		}
	}
	return none
}

// EditUser reads a user, lets edit change it and return the paths that it changed, and writes those. Where somebody else
// was faster, edit gets the user as it is by then, so that neither change is lost.
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

// ListPages gives every page; only an empty next_page_token says that there are no more.
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

// ImportUsers adds all of people, or brings them up to date, in one transaction at the end. Where people fails, the
// stream is cut off without its total_rows: then nothing is written.
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
		// EOF says only that the server has answered already; what, says CloseAndRecv.
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

// FollowUsers gives the messages of a watch behind token (now, where it is empty) for as long as the caller ranges over
// them. It goes on behind the last token when the connection ends, over another one of connect. Keep the token together
// with what was made of the changes. RESUME_TOKEN_EXPIRED is given as an error: then all users must be read again
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
			if ctx.Err() != nil || !isPassing(err) {
				yield(nil, err)
				return
			}
			onDisconnect(err)
			// Half of it at random, so that all watchers of a server that restarts do not come back at once.
			wait := min(waitMax, 100*time.Millisecond<<min(failures, 10))
			select {
			case <-time.After(wait/2 + rand.N(wait/2)):
			case <-ctx.Done():
			}
		}
	}
}

// watchOnce holds one connection, until it ends or take has had enough.
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

// isPassing says whether another connection may do better.
func isPassing(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted:
		return true
	case codes.Internal, codes.Unknown:
		// Without a reason it was not the directory that failed, but something on the way.
		return Reason(err) == ""
	}
	return false
}
