package main

import (
	"github.com/datanode/datanode/cmd/datanode/internal/demo"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/spf13/cobra"
)

const rootHelp = `datanode stores extents on several machines and lets nothing happen to them out of order.

  datanode dev                     start a cell of three nodes on this machine
  datanode put FILE                store a file; prints its locator
  datanode get LOCATOR -f FILE     read it back
  datanode op explain ID           what was decided about an operation, and why

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 unavailable, 6 corruption found, 130 interrupted.`

func newRootCommand(a app) *cobra.Command {
	return withCompletion(a, a.Root("datanode", "Store extents in a cell, and see why everything happens", rootHelp,
		newDevCommand(a), newServeCommand(a),
		demo.Command(a.App),
		newPutCommand(a), newGetCommand(a), newRemoveCommand(a), newUndeleteCommand(a),
		newExtentCommand(a), newOpCommand(a), newNodeCommand(a), newDiskCommand(a), newCellCommand(a), newPolicyCommand(a), newLogCommand(a),
		newSettingsCommand(a), newConnsCommand(a), newStatusCommand(a), newHealthCommand(a), newRecoverCommand(a),
		newCertCommand(a),
		newBenchCommand(a), newVersionCommand(a), policyhost.Command(a.App)))
}
