# Each target installs (or names) what it needs, then hands over to the host-side program in test/runner.

GO := @sh test/setup.sh

.PHONY: help run test ktest bench fuzz fuzz-syscalls debug lint kernel clean

help:
	@echo 'make run      boot Foster under QEMU: a demonstration, then a shell (Ctrl-A x quits QEMU)'
	@echo 'make test     every test: host, in-kernel, C suite here and in the guest, shell sessions'
	@echo 'make ktest    the in-kernel unit tests alone (FILTER=name for some of them)'
	@echo 'make bench    the figures, beside those of Debian'\''s Linux kernel; writes docs/bench.md and .svg'
	@echo 'make fuzz     process trees from seeds, on Linux and on Foster; they must be the same (SEEDS=a-b, RACES=a-b)'
	@echo 'make fuzz-syscalls  random system calls with bad input in a guest (SECONDS=n SEED=s)'
	@echo 'make debug    as run, but QEMU waits for gdb'
	@echo 'make lint     rustfmt and clippy, warnings denied'
	@echo 'make kernel   build/foster, a bootable ELF with symbols'
	@echo 'make clean    remove everything that was built'

run test bench debug lint kernel:
	$(GO) $@ $(ARGS)

ktest:
	$(GO) ktest $(FILTER)

fuzz:
	$(GO) fuzz $(if $(RACES),races $(RACES),$(SEEDS))

fuzz-syscalls:
	$(GO) fuzz-syscalls $(SECONDS) $(SEED)

clean:
	rm -rf build target
