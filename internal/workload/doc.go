// Package workload hands the local processes of a host their identities: the
// SPIFFE Workload API (SPIFFE_Workload_Endpoint, SPIFFE_Workload_API) on a unix
// socket, for X.509-SVIDs and their bundles. A process needs no secret: the
// kernel says who is on the other side of the socket, and the map says which
// service such a process is.
//
// A process that fits several services gets all of their identities in one
// message, in the order of the map, each with the service's name as its hint;
// clients that take only one take the first.
//
// It promises:
//   - the process is the one that opened the connection, held by a pidfd from
//     the moment of accept (SO_PEERPIDFD; before Linux 6.5 pidfd_open and its
//     start time), so that a number that the kernel gives out again is nobody;
//   - it is attested again before every message, and at least twice a minute: a
//     process that ended, became another user or started another program has
//     lost its connection, and connects again as what it is now;
//   - what it was attested as counts only if it is still alive after all was read;
//   - a change of entries reaches every open stream at once, in both directions;
//   - a new key with every certificate, renewed at 0.4 to 0.5 of its life, and
//     after the sleep of a machine within seconds;
//   - connections, streams, keys in the making and lines of the log are bounded.
//
// It refuses:
//   - a request without the header `workload.spiffe.io: true` (InvalidArgument),
//     so that nobody is tricked into fetching (server side request forgery);
//   - a process that fits no entry (PermissionDenied): the log has what was
//     attested, the nearest entry and the first difference, the answer has not;
//   - entries that name what this version does not attest (sha256, unit,
//     cgroup): they fit nobody, and the log says so;
//   - the zone's own names, gateway and control, whatever the entries say;
//   - JWT-SVIDs and WIT-SVIDs (Unimplemented).
//
// Selectors: all that an entry names must hold, any value of one suffices; an
// entry without any is fetched by the uid that runs this process. `uid` and
// `gid` are the effective ones, at the connection and now; `gid` also takes the
// supplementary groups. `path` is the very file that the process executes, by
// its inode: a file of the same path in a mount namespace of the process's own
// is another file, and an executable that was deleted or replaced fits nothing
// until the service is started again.
//
// What it cannot know: `path` alone says which program runs, not who started
// it, with which arguments or libraries. Whoever may start or trace that program
// as that user has its identity, so name `uid` beside `path`. A process also
// answers for those to whom it hands its open connection, as long as it lives
// and stays what it is. In a user namespace all users of the outside look like
// the one overflow uid (65534): do not name that. Without root (or
// CAP_SYS_PTRACE) the kernel shows the executables of the own user's processes
// only, so that `path` fits no other user's.
package workload
