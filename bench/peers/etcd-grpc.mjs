/** etcd's KV over gRPC: puts, and transactions of puts. The few protobuf fields needed are written by hand (etcd's public v3 API: Put, Txn). */
import grpc from '@grpc/grpc-js';
import { closedLoop, input, serve } from './remote.mjs';

function varint(value) {
  const bytes = [];
  while (value > 127) {
    bytes.push((value & 127) | 128);
    value >>>= 7;
  }
  bytes.push(value);
  return Buffer.from(bytes);
}
const field = (number, bytes) => Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
// PutRequest { bytes key = 1; bytes value = 2; }
const put = (id) => Buffer.concat([field(1, Buffer.from(id)), field(2, Buffer.from(JSON.stringify({ id, run: { type: 'handler', name: 'noop', input: input(id) } })))]);
// TxnRequest { repeated RequestOp success = 2; }  RequestOp { PutRequest request_put = 2; }
const txn = (ids) => Buffer.concat(ids.map((id) => field(2, field(2, put(id)))));

let clients = [];
const same = (bytes) => bytes;

function call(client, path, bytes) {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, bytes, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

serve(async (request) => {
  if (clients.length === 0)
    clients = Array.from({ length: 4 }, (_, at) => new grpc.Client(request.address, grpc.credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1, 'bench.channel': at }));
  if (request.type === 'put') return closedLoop(request, (n, caller) => call(clients[caller % clients.length], '/etcdserverpb.KV/Put', put(`${request.tag}-${n}`)));
  if (request.type === 'txn')
    return closedLoop(request, (n, caller) =>
      call(clients[caller % clients.length], '/etcdserverpb.KV/Txn', txn(Array.from({ length: request.batch }, (_, at) => `${request.tag}-${n + at}`))),
    );
  throw new Error(`unknown request ${request.type}`);
});
