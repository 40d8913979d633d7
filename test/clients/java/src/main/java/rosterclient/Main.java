package rosterclient;

import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.MetadataUtils;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import users.v1.UserOuterClass.User;
import users.v1.UserServiceGrpc;
import users.v1.UserServiceGrpc.UserServiceBlockingV2Stub;
import users.v1.UserServiceGrpc.UserServiceFutureStub;
import users.v1.UserServiceOuterClass.BatchCreateUsersRequest;
import users.v1.UserServiceOuterClass.CreateUserRequest;
import users.v1.UserServiceOuterClass.ExportUsersRequest;
import users.v1.UserServiceOuterClass.GetUserRequest;
import users.v1.UserServiceOuterClass.GetUserResponse;
import users.v1.UserServiceOuterClass.ImportUsersRequest;
import users.v1.UserServiceOuterClass.ResolveUsersRequest;
import users.v1.UserServiceOuterClass.UpdateUserRequest;
import users.v1.UserServiceOuterClass.WatchUsersRequest;

/** Calls the Roster at ROSTER_ADDRESS with grpc-java, and prints a line for each check that has passed. */
final class Main {
  private static final int LARGE_USERS = 250;
  private static final int LARGE_TEXT = 15_600;
  private static final int PARALLEL_CALLS = 500;
  private static final int IMPORTED_USERS = 3000;
  private static final int MESSAGE_USERS = 500;
  private static final int QUESTIONS = 1000;
  private static final int CANCELLED_CALLS = 250;
  private static final int AGE_WORKERS = 16;

  private final UserServiceBlockingV2Stub users;
  private final UserServiceFutureStub futures;
  private String ada;

  private Main(UserServiceBlockingV2Stub users, UserServiceFutureStub futures) {
    this.users = users;
    this.futures = futures;
  }

  public static void main(String[] arguments) throws Exception {
    var address = System.getenv("ROSTER_ADDRESS");
    var headers = new Metadata();
    headers.put(
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + System.getenv("ROSTER_TOKEN"));
    // grpc-java repeats a call that a closing connection has not received only if its request fits into these buffers.
    var channel =
        Grpc.newChannelBuilder(address, InsecureChannelCredentials.create())
            .intercept(MetadataUtils.newAttachHeadersInterceptor(headers))
            .perRpcBufferLimit(8 << 20)
            .retryBufferSize(64 << 20)
            .build();
    try {
      new Main(UserServiceGrpc.newBlockingV2Stub(channel), UserServiceGrpc.newFutureStub(channel)).run();
    } finally {
      channel.shutdownNow();
    }
  }

  private void run() throws Exception {
    large();
    ada = users.createUser(CreateUserRequest.newBuilder().setUser(userOf("ada")).build()).getUser().getId();
    getAll(startGets(PARALLEL_CALLS));
    System.out.printf("parallel: %d calls%n", PARALLEL_CALLS);
    importUsers();
    exportUsers();
    resolve();
    watch();
    cancel();
    deadline();
    connectionAge();
  }

  private static void check(boolean isTrue, Object value) {
    if (!isTrue) throw new AssertionError(value);
  }

  private static User.Builder userOf(String name) {
    return User.newBuilder().setFirstName(name).setEmail(name + "@java.example");
  }

  /** The request and the response have almost 4 MiB, which is the limit of both. */
  private void large() throws StatusException {
    var note = Value.newBuilder().setStringValue("x".repeat(LARGE_TEXT)).build();
    var attributes = Struct.newBuilder().putFields("note", note).build();
    var request = BatchCreateUsersRequest.newBuilder();
    for (int number = 0; number < LARGE_USERS; number++) {
      request.addUsers(userOf("large-" + number).setAttributes(attributes));
    }
    var created = users.batchCreateUsers(request.build()).getUsersList();
    for (var user : created) check(user.getAttributes().equals(attributes), user);
    System.out.printf("large messages: %d users%n", created.size());
  }

  private List<ListenableFuture<GetUserResponse>> startGets(int count) {
    var request = GetUserRequest.newBuilder().setId(ada).build();
    var calls = new ArrayList<ListenableFuture<GetUserResponse>>();
    for (int number = 0; number < count; number++) calls.add(futures.getUser(request));
    return calls;
  }

  private void getAll(List<ListenableFuture<GetUserResponse>> calls) throws Exception {
    for (var response : Futures.allAsList(calls).get()) check(response.getUser().getId().equals(ada), response);
  }

  private void importUsers() throws Exception {
    var call = users.importUsers();
    for (int first = 0; first < IMPORTED_USERS; first += MESSAGE_USERS) {
      var message = ImportUsersRequest.newBuilder();
      for (int number = first; number < first + MESSAGE_USERS; number++) message.addUsers(userOf("imported-" + number));
      check(call.write(message.build()), "The server has ended the import.");
    }
    check(call.write(ImportUsersRequest.newBuilder().setTotalRows(IMPORTED_USERS).build()), "not written");
    call.halfClose();
    var report = call.read();
    check(report.getCommitted(), report);
    System.out.printf("import: %d users%n", report.getCreated());
  }

  private void exportUsers() throws Exception {
    var filter = "email.endsWith(\"@java.example\") && email.startsWith(\"imported-\")";
    var call = users.exportUsers(ExportUsersRequest.newBuilder().setFilter(filter).build());
    int exported = 0;
    String lastToken = "";
    while (call.hasNext()) {
      var message = call.read();
      exported += message.getUsersCount();
      lastToken = message.getWatchToken();
    }
    check(!lastToken.isEmpty(), "The export has no watch_token.");
    System.out.printf("export: %d users%n", exported);
  }

  /** Sends each request after the answer to the previous one. */
  private void resolve() throws Exception {
    var call = users.resolveUsers();
    for (int number = 0; number < QUESTIONS; number++) {
      var tag = String.valueOf(number);
      check(call.write(ResolveUsersRequest.newBuilder().setTag(tag).addIds(ada).build()), tag);
      var answer = call.read();
      check(answer.getTag().equals(tag) && answer.getUsersCount() == 1, answer);
    }
    call.halfClose();
    check(call.read() == null, "ResolveUsers has another answer.");
    System.out.printf("resolve: %d answers%n", QUESTIONS);
  }

  private void watch() throws Exception {
    var call = users.watchUsers(WatchUsersRequest.getDefaultInstance());
    call.read();
    var renamed = User.newBuilder().setId(ada).setLastName("King");
    users.updateUser(UpdateUserRequest.newBuilder().setUser(renamed).build());
    while (true) {
      for (var change : call.read().getChangesList()) {
        if (!change.getUser().getId().equals(ada)) continue;
        System.out.printf("watch: %s%n", change.getUser().getDisplayName());
        call.cancel("done", null);
        return;
      }
    }
  }

  /** Cancelled calls cost the others of their connection nothing. */
  private void cancel() throws Exception {
    var others = new ArrayList<ListenableFuture<GetUserResponse>>();
    for (int number = 0; number < CANCELLED_CALLS; number++) {
      var watching = users.watchUsers(WatchUsersRequest.getDefaultInstance());
      others.addAll(startGets(1));
      watching.cancel("not needed", null);
      check(endOf(watching::read) == Status.Code.CANCELLED, "not cancelled");
    }
    getAll(others);
    System.out.printf("cancellation: %d calls next to %d others%n", CANCELLED_CALLS, others.size());
  }

  private void deadline() throws Exception {
    var watching =
        users.withDeadlineAfter(500, TimeUnit.MILLISECONDS).watchUsers(WatchUsersRequest.getDefaultInstance());
    check(endOf(watching::read) == Status.Code.DEADLINE_EXCEEDED, "not ended");
    System.out.println("deadline: passed");
  }

  /** Reads until the call fails, and returns the status. */
  private static Status.Code endOf(Callable<?> read) throws Exception {
    try {
      while (read.call() != null) {}
      return Status.Code.OK;
    } catch (StatusException error) {
      return error.getStatus().getCode();
    }
  }

  /** The server ends each connection about two seconds after its start. */
  private void connectionAge() throws Exception {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(7);
    var calls = new AtomicInteger();
    var workers = Executors.newFixedThreadPool(AGE_WORKERS);
    try {
      var works = new ArrayList<Callable<Void>>();
      for (int worker = 0; worker < AGE_WORKERS; worker++) {
        works.add(
            () -> {
              for (; System.nanoTime() < end; calls.incrementAndGet()) getAll(startGets(1));
              return null;
            });
      }
      for (var work : workers.invokeAll(works)) work.get();
    } finally {
      workers.shutdown();
    }
    System.out.printf("connection age: %d calls%n", calls.get());
  }
}
