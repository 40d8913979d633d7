import { readFileSync } from 'node:fs';
import { createFileRegistry, type DescField, fromBinary, ScalarType } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { methodRoles } from '../../src/policy/method-roles.js';
import { requestFields, userFields } from '../../src/policy/request-fields.js';

const bytes = readFileSync(new URL('../../generated/descriptors.binpb', import.meta.url));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
const services = ['users.v1.UserService', 'profileservice.ProfileService'].map((name) => {
  const service = registry.getService(name);
  if (service === undefined) throw new Error(`The contract has no ${name}.`);
  return service;
});

describe('the contract', () => {
  it('has exactly the methods in the table of roles, so that a new method is closed until it gets a role', () => {
    const paths = services.flatMap(({ typeName, methods }) => methods.map(({ name }) => `/${typeName}/${name}`));
    expect(Object.keys(methodRoles).sort()).toEqual(paths.sort());
  });

  it('has no other services', () => {
    const names = [...registry].flatMap((type) => (type.kind === 'service' ? [type.typeName] : []));
    expect(names.filter((name) => !services.some(({ typeName }) => typeName === name))).toEqual([]);
  });

  it('has exactly the request fields that conditions can read, except messages', () => {
    const inputs = services.flatMap(({ methods }) => methods.map(({ input }) => input));
    const types = new Map(
      inputs.flatMap(({ fields }) =>
        fields.flatMap((field) => {
          const type = typeOf(field);
          return type === undefined ? [] : [[field.name, type] as const];
        }),
      ),
    );
    expect(Object.fromEntries([...types].sort())).toEqual(Object.fromEntries(Object.entries(requestFields).sort()));
  });

  it('has the fields of a user that conditions can read', () => {
    const names = registry.getMessage('users.v1.User')?.fields.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining([...Object.keys(userFields), 'attributes']));
  });
});

function typeOf(field: DescField): string | undefined {
  if (field.fieldKind === 'list') return field.listKind === 'scalar' ? 'list' : undefined;
  if (field.fieldKind === 'message') return field.message.typeName === 'google.protobuf.FieldMask' ? 'list' : undefined;
  if (field.fieldKind !== 'scalar') return undefined;
  if (field.scalar === ScalarType.STRING) return 'string';
  return field.scalar === ScalarType.BOOL ? 'boolean' : 'number';
}
