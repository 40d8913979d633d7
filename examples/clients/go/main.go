// Command rosterclient shows typical work with a directory, from the first create to the last delete, and prints each
// step. The people of people.csv stay in the directory, so a second run finds them there.
package main

//go:generate buf generate

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"iter"
	"log"
	"os"
	"strings"
	"time"

	usersv1 "example.com/rosterclient/gen/users/v1"
	"example.com/rosterclient/roster"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
)

//go:embed people.csv
var peopleCSV string

// day is one run: the directory, and a function that opens another connection to it.
type day struct {
	ctx     context.Context
	connect func() (*grpc.ClientConn, error)
	users   usersv1.UserServiceClient
	userID  string
}

func main() {
	log.SetFlags(0)
	options, err := parseOptions()
	if err != nil {
		log.Fatal(err)
	}
	connect := func() (*grpc.ClientConn, error) { return roster.Dial(options) }
	connection, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	work := &day{ctx: context.Background(), connect: connect, users: usersv1.NewUserServiceClient(connection)}
	for _, step := range []func() error{work.create, work.edit, work.importPeople, work.list, work.watch, work.delete, work.fail} {
		if err := step(); err != nil {
			log.Fatal(err)
		}
	}
}

func parseOptions() (roster.Options, error) {
	// Only from the environment, because other users of the machine can read a process's flags.
	options := roster.Options{Token: os.Getenv("ROSTER_TOKEN")}
	flag.StringVar(&options.Address, "address", cmp.Or(os.Getenv("ROSTER_ADDRESS"), "localhost:50051"), "host:port")
	deadlineMs := flag.Int("deadline-ms", 10_000, "timeout of a call in milliseconds")
	flag.BoolVar(&options.TLS, "tls", false, "use TLS; required to send a token to another machine")
	ca := flag.String("ca", os.Getenv("ROSTER_CA"), "PEM file of trusted authorities; enables TLS")
	flag.Parse()
	options.Deadline = time.Duration(*deadlineMs) * time.Millisecond
	if *ca == "" {
		return options, nil
	}
	var err error
	options.TLS = true
	options.CA, err = os.ReadFile(*ca)
	return options, err
}

func (work *day) create() error {
	attributes, err := structpb.NewStruct(map[string]any{"department": "research", "projects": []any{"notes"}})
	if err != nil {
		return err
	}
	request := &usersv1.CreateUserRequest{
		User: &usersv1.User{
			FirstName:  "Ada",
			LastName:   "Lovelace",
			Email:      fmt.Sprintf("ada-%s@example.com", uuid.New()),
			Attributes: attributes,
		},
		RequestId: uuid.NewString(),
	}
	created, err := work.users.CreateUser(work.ctx, request)
	if err != nil {
		return err
	}
	work.userID = created.User.Id
	fmt.Println("create:", created.User.DisplayName, work.userID)
	// Repeats the call, as after a lost answer. The request id makes it return the same user.
	again, err := work.users.CreateUser(work.ctx, request)
	if err != nil {
		return err
	}
	if again.User.Id == work.userID && again.User.Etag == created.User.Etag {
		fmt.Println("create again: the same user")
	}
	return nil
}

func (work *day) edit() error {
	attempts := 0
	user, err := roster.EditUser(work.ctx, work.users, work.userID, func(user *usersv1.User) ([]string, error) {
		attempts++
		fmt.Printf("edit, attempt %d: read %s\n", attempts, projectsOf(user))
		if attempts == 1 {
			// Another caller updates the user between our read and our write.
			if _, err := roster.EditUser(work.ctx, work.users, work.userID, addProject("weaving")); err != nil {
				return nil, err
			}
		}
		return addProject("engine")(user)
	})
	if err != nil {
		return err
	}
	fmt.Println("edited:", projectsOf(user))
	return nil
}

func addProject(project string) func(*usersv1.User) ([]string, error) {
	return func(user *usersv1.User) ([]string, error) {
		projects := user.Attributes.Fields["projects"].GetListValue()
		projects.Values = append(projects.Values, structpb.NewStringValue(project))
		return []string{"attributes.projects"}, nil
	}
}

func projectsOf(user *usersv1.User) string {
	var projects []string
	for _, project := range user.Attributes.Fields["projects"].GetListValue().Values {
		projects = append(projects, project.GetStringValue())
	}
	return strings.Join(projects, ", ")
}

func (work *day) importPeople() error {
	report, err := roster.ImportUsers(work.ctx, work.users, people(strings.NewReader(peopleCSV)))
	if err != nil {
		return err
	}
	fmt.Printf("import: %d created, %d updated, %d unchanged, %d rejected\n",
		report.Created, report.Updated, report.Skipped, report.Rejected)
	for _, each := range report.Errors {
		fmt.Printf("  row %d: %s %s\n", each.Row, each.Field, each.Reason)
	}
	return nil
}

// people reads rows of first_name, last_name, email and attributes.department, after a header.
func people(file io.Reader) iter.Seq2[*usersv1.User, error] {
	return func(yield func(*usersv1.User, error) bool) {
		rows := csv.NewReader(file)
		rows.FieldsPerRecord = 4
		for number := 0; ; number++ {
			row, err := rows.Read()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if number == 0 {
				continue
			}
			department := map[string]*structpb.Value{"department": structpb.NewStringValue(row[3])}
			user := &usersv1.User{
				FirstName: row[0], LastName: row[1], Email: row[2], Attributes: &structpb.Struct{Fields: department},
			}
			if !yield(user, nil) {
				return
			}
		}
	}
}

func (work *day) list() error {
	request := &usersv1.ListUsersRequest{
		PageSize: 40,
		Filter:   `attributes.department == "research" && email.endsWith("@people.example")`,
		OrderBy:  "last_name, first_name",
	}
	number := 0
	for page, err := range roster.ListPages(work.ctx, work.users, request) {
		if err != nil {
			return err
		}
		number++
		first, last := page.Users[0], page.Users[len(page.Users)-1]
		fmt.Printf("list, page %d: %d users, %s to %s\n", number, len(page.Users), first.DisplayName, last.DisplayName)
	}
	return nil
}

func (work *day) watch() error {
	var connection *grpc.ClientConn
	connect := func() (_ *grpc.ClientConn, err error) {
		connection, err = work.connect()
		return connection, err
	}
	say := func(err error) {
		fmt.Println("watch: disconnected,", status.Code(err))
	}
	begun, seen := false, 0
	for message, err := range roster.FollowUsers(work.ctx, connect, "", say) {
		if err != nil {
			return err
		}
		if !begun {
			// The watch sees every change that is committed after the first message was received.
			begun = true
			fmt.Println("watch: begins")
			if err := work.rename("King"); err != nil {
				return err
			}
		}
		for _, change := range message.Changes {
			if change.User.Id != work.userID {
				continue
			}
			seen++
			changed := change.ChangeTime.AsTime().Format(time.RFC3339Nano)
			fmt.Println("watch:", change.Type, changed, change.User.DisplayName)
			if seen > 1 {
				continue
			}
			// The connection breaks, and two changes happen before it reconnects. Both follow, each with the current
			// user.
			connection.Close()
			for _, name := range []string{"Byron", "Noel"} {
				if err := work.rename(name); err != nil {
					return err
				}
			}
		}
		if seen == 3 {
			break
		}
	}
	return nil
}

func (work *day) rename(lastName string) error {
	_, err := work.users.UpdateUser(work.ctx, &usersv1.UpdateUserRequest{
		User:       &usersv1.User{Id: work.userID, LastName: lastName},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"last_name"}},
	})
	return err
}

func (work *day) delete() error {
	if _, err := work.users.DeleteUser(work.ctx, &usersv1.DeleteUserRequest{Id: work.userID}); err != nil {
		return err
	}
	_, err := work.users.GetUser(work.ctx, &usersv1.GetUserRequest{Id: work.userID})
	fmt.Println("delete: then", status.Code(err), roster.Reason(err))
	return nil
}

func (work *day) fail() error {
	_, err := work.users.CreateUser(work.ctx, &usersv1.CreateUserRequest{
		User: &usersv1.User{Email: "nope"}, RequestId: uuid.NewString(),
	})
	fmt.Println("bad create:", status.Code(err), roster.Reason(err))
	for _, violation := range roster.Violations(err) {
		fmt.Printf("  %s: %s\n", violation.Field, violation.Description)
	}
	return nil
}
