package evaluator

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// account is the user that the server runs as; nil for the proxy's own.
type account struct{ uid, gid uint32 }

// ownAccount is the name of the user that an operator can make for the evaluator.
const ownAccount = "latchkey-evaluator"

// serverAccount chooses the user of the server. Only root can choose: a user of its own if there is one, else nobody. It is
// never mysql, as which the backend may run on the same machine, reading files at the wish of those who must not see these.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{ownAccount, "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &account{uint32(uid), uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("there is no user %s and no nobody to run the evaluator as", ownAccount)
}

// own gives a directory to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}
