/**
 * The calls of users.v1.UserService over one or several channels. This file applies the deadline and the retries, and chooses
 * the channel of each attempt. Methods that have no side effects according to the contract may run twice.
 */
import type { Channel } from '@grpc/grpc-js';
import type { ClientFactory, CallOptions as NiceCallOptions } from 'nice-grpc';
import { type UserServiceClient, UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import { type AttemptOptions, deadlineIn, parseAttemptsMax, withRetries } from './call.js';
import { createRotation } from './channel.js';
import { type ChannelHealth, notingFailures } from './channel-health.js';
import type { CallLimits, CallOptions } from './client-options.js';

type Service = UserServiceClient<AttemptOptions>;
type Call<Request, Result> = (request: Request, options?: NiceCallOptions & AttemptOptions) => Result;
type Method<Request, Result> = (service: Service) => Call<Request, Result>;

export interface ServiceCalls {
  /** The next channel in rotation. */
  nextChannel(): number;
  /** The maximum number of attempts of a call with these limits. Throws a RangeError for an invalid number. */
  attemptsMaxOf(limits: CallLimits | undefined): number;
  /** A function that makes the attempts of one call. If there are several channels, each attempt uses another one than the last. */
  attemptsAt<Request, Result>(method: Method<Request, Result>): Call<Request, Result>;
  /** A unary method with the client's deadline and retries. Only calls that `mayRunTwice`, or that did not run, are retried. */
  unary<Request, Response>(
    method: Method<Request, Promise<Response>>,
    mayRunTwice: (request: Request) => boolean,
  ): (request: Request, options?: CallOptions) => Promise<Response>;
  /** Every method of the contract. Only unary methods without side effects are retried. */
  methods(): UserServiceClient<CallLimits>;
}

export function createServiceCalls(
  channels: readonly Channel[],
  factory: ClientFactory<AttemptOptions>,
  limits: Required<CallLimits>,
  health: ChannelHealth,
): ServiceCalls {
  const services = channels.map((channel, index): Service => {
    // With one channel there is no choice.
    const own =
      channels.length === 1 ? factory : factory.use(notingFailures((name) => health.noteFailure(index, name)));
    return own.create(UserServiceDefinition, channel);
  });
  const nextChannel = createRotation(channels, health.isDoubtful);

  function attemptsMaxOf(ofCall: CallLimits | undefined): number {
    return ofCall?.attemptsMax === undefined ? limits.attemptsMax : parseAttemptsMax(ofCall.attemptsMax);
  }

  function attemptsAt<Request, Result>(method: Method<Request, Result>): Call<Request, Result> {
    let index: number | undefined;
    return (request, options) => {
      index = nextChannel(index);
      return method(services[index] as Service)(request, options);
    };
  }

  function unary<Request, Response>(
    method: Method<Request, Promise<Response>>,
    mayRunTwice: (request: Request) => boolean,
  ) {
    return async (request: Request, { deadlineMs, attemptsMax, ...rest }: CallOptions = {}): Promise<Response> => {
      const deadline = deadlineIn(deadlineMs ?? limits.deadlineMs);
      const retries = { mayRunTwice: mayRunTwice(request), attemptsMax: attemptsMaxOf({ attemptsMax }), deadline };
      const attempt = attemptsAt(method);
      return withRetries({ ...retries, signal: rest.signal }, () => attempt(request, { ...rest, deadline }));
    };
  }

  function streaming<Request, Result>(method: Method<Request, Result>) {
    return (request: Request, { deadlineMs = 0, attemptsMax: _, ...rest }: CallOptions = {}): Result =>
      attemptsAt(method)(request, { ...rest, deadline: deadlineIn(deadlineMs) });
  }

  function methods(): UserServiceClient<CallLimits> {
    const calls = Object.entries(UserServiceDefinition.methods).map(
      ([name, { requestStream, responseStream, options }]) => {
        const method = (service: Service) => service[name as keyof Service] as Call<unknown, Promise<unknown>>;
        const isRead = 'idempotencyLevel' in options && options.idempotencyLevel === 'NO_SIDE_EFFECTS';
        return [name, requestStream || responseStream ? streaming(method) : unary(method, () => isRead)];
      },
    );
    return Object.fromEntries(calls) as UserServiceClient<CallLimits>;
  }

  return { nextChannel, attemptsMaxOf, attemptsAt, unary, methods };
}
