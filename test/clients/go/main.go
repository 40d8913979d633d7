// Calls the Roster at ROSTER_ADDRESS with grpc-go, and prints a line for each check that has passed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	usersv1 "example.com/rosterclient/gen/users/v1"
)

const (
	largeUsers     = 250
	largeText      = 15_600
	parallelCalls  = 500
	importedUsers  = 3000
	messageUsers   = 500
	questions      = 1000
	cancelledCalls = 250
	ageWorkers     = 16
)

var ctx = context.Background()

func main() {
	connection, err := grpc.NewClient(os.Getenv("ROSTER_ADDRESS"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(os.Getenv("ROSTER_TOKEN"))),
	)
	must(err)
	defer connection.Close()
	users := usersv1.NewUserServiceClient(connection)
	large(users)
	created, err := users.CreateUser(ctx, &usersv1.CreateUserRequest{User: userOf("ada")})
	must(err)
	id := created.User.Id
	inParallel(parallelCalls, func(int) { get(users, id) })
	fmt.Printf("parallel: %d calls\n", parallelCalls)
	importAndExport(users)
	resolve(users, id)
	watch(users, id)
	cancel(users, id)
	deadline(users)
	connectionAge(users, id)
}

// bearer sends a token with each call, also without TLS, because the server is on this machine.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func must(err error) {
	if err != nil {
		log.Panic(err)
	}
}

func check(isTrue bool, values ...any) {
	if !isTrue {
		log.Panic(values...)
	}
}

func userOf(name string) *usersv1.User {
	return &usersv1.User{FirstName: name, Email: name + "@go.example"}
}

// The request and the response have almost 4 MiB, which is the limit of both.
func large(users usersv1.UserServiceClient) {
	attributes, err := structpb.NewStruct(map[string]any{"note": strings.Repeat("x", largeText)})
	must(err)
	request := &usersv1.BatchCreateUsersRequest{}
	for number := range largeUsers {
		user := userOf(fmt.Sprint("large-", number))
		user.Attributes = attributes
		request.Users = append(request.Users, user)
	}
	response, err := users.BatchCreateUsers(ctx, request)
	must(err)
	for _, user := range response.Users {
		check(proto.Equal(user.Attributes, attributes), user)
	}
	fmt.Printf("large messages: %d users\n", len(response.Users))
}

func get(users usersv1.UserServiceClient, id string) {
	response, err := users.GetUser(ctx, &usersv1.GetUserRequest{Id: id})
	must(err)
	check(response.User.Id == id, response)
}

func inParallel(count int, work func(number int)) {
	var group sync.WaitGroup
	for number := range count {
		group.Go(func() { work(number) })
	}
	group.Wait()
}

func importAndExport(users usersv1.UserServiceClient) {
	rows, err := users.ImportUsers(ctx)
	must(err)
	for first := 0; first < importedUsers; first += messageUsers {
		message := &usersv1.ImportUsersRequest{}
		for number := first; number < first+messageUsers; number++ {
			message.Users = append(message.Users, userOf(fmt.Sprint("imported-", number)))
		}
		must(rows.Send(message))
	}
	must(rows.Send(&usersv1.ImportUsersRequest{TotalRows: proto.Int64(importedUsers)}))
	report, err := rows.CloseAndRecv()
	must(err)
	check(report.Committed, report)
	fmt.Printf("import: %d users\n", report.Created)

	filter := `email.endsWith("@go.example") && email.startsWith("imported-")`
	messages, err := users.ExportUsers(ctx, &usersv1.ExportUsersRequest{Filter: filter})
	must(err)
	exported, lastToken := 0, ""
	for {
		message, err := messages.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		must(err)
		exported += len(message.Users)
		lastToken = message.WatchToken
	}
	check(lastToken != "", "the export has no watch_token")
	fmt.Printf("export: %d users\n", exported)
}

// Sends each request after the answer to the previous one.
func resolve(users usersv1.UserServiceClient, id string) {
	stream, err := users.ResolveUsers(ctx)
	must(err)
	for number := range questions {
		tag := fmt.Sprint(number)
		must(stream.Send(&usersv1.ResolveUsersRequest{Tag: tag, Ids: []string{id}}))
		answer, err := stream.Recv()
		must(err)
		check(answer.Tag == tag && len(answer.Users) == 1, answer)
	}
	must(stream.CloseSend())
	_, err = stream.Recv()
	check(errors.Is(err, io.EOF), err)
	fmt.Printf("resolve: %d answers\n", questions)
}

func watch(users usersv1.UserServiceClient, id string) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	messages, err := users.WatchUsers(watching, &usersv1.WatchUsersRequest{})
	must(err)
	_, err = messages.Recv()
	must(err)
	_, err = users.UpdateUser(ctx, &usersv1.UpdateUserRequest{User: &usersv1.User{Id: id, LastName: "King"}})
	must(err)
	for {
		message, err := messages.Recv()
		must(err)
		for _, change := range message.Changes {
			if change.User.Id == id {
				fmt.Printf("watch: %s\n", change.User.DisplayName)
				return
			}
		}
	}
}

// Cancelled calls cost the others of their connection nothing.
func cancel(users usersv1.UserServiceClient, id string) {
	inParallel(2*cancelledCalls, func(number int) {
		if number%2 == 0 {
			get(users, id)
			return
		}
		watching, stop := context.WithCancel(ctx)
		messages, err := users.WatchUsers(watching, &usersv1.WatchUsersRequest{})
		must(err)
		_, err = messages.Recv()
		must(err)
		stop()
		for err == nil {
			_, err = messages.Recv()
		}
		check(status.Code(err) == codes.Canceled, err)
	})
	fmt.Printf("cancellation: %d calls next to %d others\n", cancelledCalls, cancelledCalls)
}

func deadline(users usersv1.UserServiceClient) {
	timed, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	messages, err := users.WatchUsers(timed, &usersv1.WatchUsersRequest{})
	for err == nil {
		_, err = messages.Recv()
	}
	check(status.Code(err) == codes.DeadlineExceeded, err)
	fmt.Println("deadline: passed")
}

// The server ends each connection about two seconds after its start.
func connectionAge(users usersv1.UserServiceClient, id string) {
	end := time.Now().Add(7 * time.Second)
	var calls atomic.Int64
	inParallel(ageWorkers, func(int) {
		for time.Now().Before(end) {
			get(users, id)
			calls.Add(1)
		}
	})
	fmt.Printf("connection age: %d calls\n", calls.Load())
}
