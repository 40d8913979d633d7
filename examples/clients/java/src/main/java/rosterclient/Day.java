package rosterclient;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.protobuf.FieldMask;
import com.google.protobuf.ListValue;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import io.grpc.ManagedChannel;
import io.grpc.StatusException;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVRecord;
import users.v1.UserOuterClass.User;
import users.v1.UserServiceGrpc;
import users.v1.UserServiceGrpc.UserServiceBlockingV2Stub;
import users.v1.UserServiceOuterClass.CreateUserRequest;
import users.v1.UserServiceOuterClass.DeleteUserRequest;
import users.v1.UserServiceOuterClass.GetUserRequest;
import users.v1.UserServiceOuterClass.ListUsersRequest;
import users.v1.UserServiceOuterClass.UpdateUserRequest;

/**
 * Shows typical work with a directory, from the first create to the last delete, and prints each step.
 *
 * <p>The people of people.csv stay in the directory, so a second run finds them there.
 */
final class Day {
  private final Supplier<ManagedChannel> connect;
  private final UserServiceBlockingV2Stub users;
  private String userId;

  private Day(Supplier<ManagedChannel> connect, ManagedChannel channel) {
    this.connect = connect;
    this.users = UserServiceGrpc.newBlockingV2Stub(channel);
  }

  public static void main(String[] arguments) throws Exception {
    // Otherwise names are printed in the locale's encoding.
    System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out), true, UTF_8));
    var options = parseOptions(arguments);
    Supplier<ManagedChannel> connect =
        () -> {
          try {
            return Roster.connect(options);
          } catch (IOException unreadable) {
            throw new UncheckedIOException(unreadable);
          }
        };
    var channel = connect.get();
    try {
      var day = new Day(connect, channel);
      day.create();
      day.edit();
      day.importPeople();
      day.list();
      day.watch();
      day.delete();
      day.fail();
    } finally {
      channel.shutdownNow();
    }
  }

  private static Roster.Options parseOptions(String[] arguments) {
    var env = System.getenv();
    var address = env.getOrDefault("ROSTER_ADDRESS", "localhost:50051");
    var deadline = Duration.ofSeconds(10);
    var ca = env.get("ROSTER_CA");
    boolean tls = false;
    for (var rest = List.of(arguments).iterator(); rest.hasNext(); ) {
      var name = rest.next();
      switch (name) {
        case "--tls" -> tls = true;
        case "--address" -> address = rest.next();
        case "--ca" -> ca = rest.next();
        case "--deadline-ms" -> deadline = Duration.ofMillis(Long.parseLong(rest.next()));
        default -> throw new IllegalArgumentException(
            "Unknown option " + name + ". The options are --address host:port, --ca file, --tls, --deadline-ms number.");
      }
    }
    // The token comes only from the environment, because other users of the machine can read a process's arguments.
    return new Roster.Options(
        address, deadline, tls || ca != null, ca == null ? null : new File(ca), env.get("ROSTER_TOKEN"));
  }

  private void create() throws StatusException {
    var attributes = Struct.newBuilder().putFields("department", text("research")).putFields("projects", texts("notes"));
    var request =
        CreateUserRequest.newBuilder()
            .setUser(
                User.newBuilder()
                    .setFirstName("Ada")
                    .setLastName("Lovelace")
                    .setEmail("ada-%s@example.com".formatted(UUID.randomUUID()))
                    .setAttributes(attributes))
            .setRequestId(UUID.randomUUID().toString())
            .build();
    var user = users.createUser(request).getUser();
    userId = user.getId();
    System.out.println("create: " + user.getDisplayName() + " " + userId);
    // Repeats the call, as after a lost answer. The request id makes it return the same user.
    var again = users.createUser(request).getUser();
    System.out.println("create again: " + (again.equals(user) ? "the same user" : again));
  }

  private void edit() throws StatusException {
    var attempts = new int[1];
    var user =
        Roster.editUser(
            users,
            userId,
            read -> {
              attempts[0]++;
              System.out.println("edit, attempt " + attempts[0] + ": read " + projectsOf(read.build()));
              // Another caller updates the user between our read and our write.
              if (attempts[0] == 1) Roster.editUser(users, userId, theirs -> addProject(theirs, "weaving"));
              return addProject(read, "engine");
            });
    System.out.println("edited: " + projectsOf(user));
  }

  private static List<String> addProject(User.Builder user, String project) {
    var projects = new ArrayList<>(user.getAttributes().getFieldsOrThrow("projects").getListValue().getValuesList());
    projects.add(text(project));
    var list = Value.newBuilder().setListValue(ListValue.newBuilder().addAllValues(projects)).build();
    user.getAttributesBuilder().putFields("projects", list);
    return List.of("attributes.projects");
  }

  private static String projectsOf(User user) {
    return user.getAttributes().getFieldsOrThrow("projects").getListValue().getValuesList().stream()
        .map(Value::getStringValue)
        .collect(Collectors.joining(", "));
  }

  private static Value text(String text) {
    return Value.newBuilder().setStringValue(text).build();
  }

  private static Value texts(String text) {
    return Value.newBuilder().setListValue(ListValue.newBuilder().addValues(text(text))).build();
  }

  private void importPeople() throws StatusException, InterruptedException, IOException {
    var format = CSVFormat.DEFAULT.builder().setHeader().setSkipHeaderRecord(true).get();
    try (var file = new InputStreamReader(Day.class.getResourceAsStream("/people.csv"), UTF_8);
        var rows = format.parse(file)) {
      var report = Roster.importUsers(users, rows.stream().map(Day::userOf).iterator());
      System.out.printf(
          "import: %d created, %d updated, %d unchanged, %d rejected%n",
          report.getCreated(), report.getUpdated(), report.getSkipped(), report.getRejected());
      for (var error : report.getErrorsList()) {
        System.out.printf("  row %d: %s %s%n", error.getRow(), error.getField(), error.getReason());
      }
    }
  }

  private static User userOf(CSVRecord row) {
    return User.newBuilder()
        .setFirstName(row.get("first_name"))
        .setLastName(row.get("last_name"))
        .setEmail(row.get("email"))
        .setAttributes(Struct.newBuilder().putFields("department", text(row.get("attributes.department"))))
        .build();
  }

  private void list() throws StatusException {
    var request =
        ListUsersRequest.newBuilder()
            .setPageSize(40)
            .setFilter("attributes.department == \"research\" && email.endsWith(\"@people.example\")")
            .setOrderBy("last_name, first_name")
            .build();
    var pages = new Roster.Pages(users, request);
    for (int number = 1; pages.hasNext(); number++) {
      var page = pages.next();
      var first = page.getUsers(0).getDisplayName();
      var last = page.getUsers(page.getUsersCount() - 1).getDisplayName();
      System.out.printf("list, page %d: %d users, %s to %s%n", number, page.getUsersCount(), first, last);
    }
  }

  private void watch() throws StatusException, InterruptedException {
    var channels = new ArrayList<ManagedChannel>();
    Supplier<ManagedChannel> connectAgain =
        () -> {
          channels.add(connect.get());
          return channels.get(channels.size() - 1);
        };
    try (var watch =
        new Watch(
            connectAgain,
            "",
            error -> System.out.println("watch: disconnected, " + error.getStatus().getCode()))) {
      watch.next();
      // The watch sees every change that is committed after the first message was received.
      System.out.println("watch: begins");
      rename("King");
      for (int seen = 0; seen < 3; ) {
        for (var change : watch.next().getChangesList()) {
          if (!change.getUser().getId().equals(userId)) continue;
          var time = Instant.ofEpochSecond(change.getChangeTime().getSeconds(), change.getChangeTime().getNanos());
          System.out.println("watch: " + change.getType() + " " + time + " " + change.getUser().getDisplayName());
          if (seen++ > 0) continue;
          // The connection breaks, and two changes happen before it reconnects. Both follow, each with the current
          // user.
          channels.get(0).shutdownNow();
          rename("Byron");
          rename("Noel");
        }
      }
    }
  }

  private void rename(String lastName) throws StatusException {
    users.updateUser(
        UpdateUserRequest.newBuilder()
            .setUser(User.newBuilder().setId(userId).setLastName(lastName))
            .setUpdateMask(FieldMask.newBuilder().addPaths("last_name"))
            .build());
  }

  private void delete() throws StatusException {
    users.deleteUser(DeleteUserRequest.newBuilder().setId(userId).build());
    try {
      users.getUser(GetUserRequest.newBuilder().setId(userId).build());
    } catch (StatusException error) {
      System.out.println("delete: then " + error.getStatus().getCode() + " " + Roster.reasonOf(error));
    }
  }

  private void fail() {
    try {
      users.createUser(
          CreateUserRequest.newBuilder()
              .setUser(User.newBuilder().setEmail("nope"))
              .setRequestId(UUID.randomUUID().toString())
              .build());
    } catch (StatusException error) {
      System.out.println("bad create: " + error.getStatus().getCode() + " " + Roster.reasonOf(error));
      for (var violation : Roster.violationsOf(error)) {
        System.out.println("  " + violation.getField() + ": " + violation.getDescription());
      }
    }
  }
}
