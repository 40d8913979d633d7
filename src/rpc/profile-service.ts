/**
 * The first contract, profileservice.ProfileService, whose clients read the outcome out of the response: the only
 * second rendering of faults there is.
 */
import type { ServiceImplementation } from 'nice-grpc';
import { ProfileServiceDefinition } from '../../generated/profileservice/profile.js';
import { Fault } from '../model/fault.js';
import { parseCreateProfile } from '../model/requests.js';
import type { Directory } from '../operations/directory.js';
import { profileRequests } from './request-shapes.js';
import { wireDefinition } from './wire-definition.js';

export const profileServiceDefinition = wireDefinition(ProfileServiceDefinition, profileRequests, {});

export function createProfileService(directory: Directory): ServiceImplementation<typeof profileServiceDefinition> {
  return {
    async createProfile(request, { signal }) {
      try {
        await directory.createUser({ fields: parseCreateProfile(request), requestId: undefined }, signal);
        return { status: 200, msg: 'profile created', error: '' };
      } catch (fault) {
        // What is not the caller's mistake goes out as a gRPC status, as everywhere.
        if (!(fault instanceof Fault && (fault.code === 'INVALID_ARGUMENT' || fault.code === 'ALREADY_EXISTS')))
          throw fault;
        return { status: 400, msg: 'Invalid Request not enough credentials', error: sentenceOf(fault) };
      }
    },
  };
}

function sentenceOf({ reason, message, violations }: Fault): string {
  if (reason === 'EMAIL_TAKEN' || violations.length === 0) return message;
  return `${violations.map(({ field, description }) => `${field} ${description}`).join('; ')}.`;
}
