;; quiet-hours: in the hours of the day in which clients are busy, repairs and moves start after all
;; other work, unless an extent is on its last copy. Hours are UTC and configured as "from" and "to", 0 to
;; 23; from 8 to 18 without a configuration. From 22 to 6 is over midnight; from 8 to 8 is never.
;;
;; Offsets and numbers are those of docs/policy-abi.md.
(module
  (import "datanode" "config_get" (func $config_get (param i32 i32 i32 i32) (result i32)))
  (import "datanode" "log" (func $log (param i32 i32)))

  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 2048)) ;; everything below is data
  (global $from (mut i32) (i32.const 8))
  (global $to (mut i32) (i32.const 18))

  (data (i32.const 16) "from")
  (data (i32.const 24) "to")
  (data (i32.const 32) "quiet-hours: from and to are hours of the day, 0 to 23")

  ;; The rank of each kind, as i32 priority and i32 reason, eight bytes each. Kinds that are not known
  ;; have the rank of number 0. Repairs are looked at more closely.
  (data (i32.const 128)
    "\00\00\00\00\06\00\00\00"   ;; unknown              0
    "\00\7d\00\00\01\00\00\00"   ;; create          32 000
    "\30\75\00\00\01\00\00\00"   ;; seal            30 000
    "\70\17\00\00\03\00\00\00"   ;; repair           6 000
    "\e8\03\00\00\05\00\00\00"   ;; move             1 000
    "\e0\2e\00\00\04\00\00\00"   ;; delete          12 000
    "\d0\07\00\00\06\00\00\00"   ;; punch            2 000
    "\10\27\00\00\01\00\00\00"   ;; decommission    10 000
    "\10\27\00\00\01\00\00\00")  ;; recommission    10 000

  ;; The verdict (1 coexist, 2 wait, 3 supersede, 4 merge, 5 reject) and the reason for each pair of kinds,
  ;; two bytes each: a row for each existing kind, in it a column for each incoming one.
  (data (i32.const 256)
    ;; none     create    seal      repair    move      delete    punch     decomm.   recomm.
    "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  ;; unknown
    "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  ;; create
    "\02\0b"  "\02\0b"  "\04\0a"  "\02\0b"  "\02\0b"  "\03\0c"  "\02\0b"  "\02\0b"  "\02\0b"  ;; seal
    "\02\0b"  "\02\0b"  "\02\0b"  "\04\0a"  "\02\0b"  "\03\0c"  "\02\0b"  "\02\0b"  "\02\0b"  ;; repair
    "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\03\0c"  "\02\0b"  "\02\0b"  "\02\0b"  ;; move
    "\05\09"  "\05\09"  "\05\09"  "\05\09"  "\05\09"  "\04\0a"  "\05\09"  "\05\09"  "\05\09"  ;; delete
    "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\02\0b"  "\03\0c"  "\02\0b"  "\02\0b"  "\02\0b"  ;; punch
    "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\04\0a"  "\03\0e"  ;; decommission
    "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\05\08"  "\02\0b"  "\04\0a") ;; recommission

  ;; 0x400: the description. Its length is in policy_describe.
  (data (i32.const 1024) "{\"name\":\"quiet-hours\",\"version\":\"1\",\"reasons\":[\"unspecified\",\"somebody waits for the answer\",\"on its last copy\",\"redundancy is lost\",\"a delete frees space\",\"moves even out\",\"can wait\",\"clients are busy: copying goes last\",\"no rule for this pair\",\"it is being deleted\",\"asked for twice\",\"one after the other\",\"a delete ends the work on what it deletes\",\"the last copy is repaired before it is moved\",\"the node stays\"],\"config\":{\"type\":\"object\",\"properties\":{\"from\":{\"type\":\"string\"},\"to\":{\"type\":\"string\"}}}}")

  (func (export "policy_abi_v1"))

  ;; Memory that is never given back: the heap moves up, and the memory grows where it ends.
  (func (export "policy_alloc") (param $n i32) (result i32)
    (local $at i32) (local $pages i32)
    (local.set $at (global.get $heap))
    (if (i32.gt_u (local.get $n) (i32.const 0x40000000)) (then (unreachable)))
    (global.set $heap (i32.add (local.get $at) (i32.and (i32.add (local.get $n) (i32.const 7)) (i32.const -8))))
    (local.set $pages (i32.sub (i32.shr_u (i32.add (global.get $heap) (i32.const 65535)) (i32.const 16)) (memory.size)))
    (if (i32.gt_s (local.get $pages) (i32.const 0)) (then
      (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then (unreachable)))))
    (local.get $at))

  (func (export "policy_describe") (result i64)
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 507)))

  ;; Reads the hours once: a configuration never changes while an instance lives.
  (func (export "_initialize")
    (global.set $from (call $hour (i32.const 16) (i32.const 4) (global.get $from)))
    (global.set $to (call $hour (i32.const 24) (i32.const 2) (global.get $to))))

  ;; The configured hour; traps on what is none, so that the configuration is refused.
  (func $hour (param $key i32) (param $bytes i32) (param $default i32) (result i32)
    (local $length i32) (local $hour i32)
    (local.set $length (call $config_get (local.get $key) (local.get $bytes) (i32.const 8) (i32.const 2)))
    (if (i32.eq (local.get $length) (i32.const -1)) (then (return (local.get $default))))
    (if (i32.eq (local.get $length) (i32.const 1))
      (then (local.set $hour (call $digit (i32.const 8))))
      (else (if (i32.eq (local.get $length) (i32.const 2))
        (then (local.set $hour (i32.add (i32.mul (call $digit (i32.const 8)) (i32.const 10)) (call $digit (i32.const 9)))))
        (else (local.set $hour (i32.const 99))))))
    (if (i32.gt_u (local.get $hour) (i32.const 23)) (then
      (call $log (i32.const 32) (i32.const 54))
      (unreachable)))
    (local.get $hour))

  ;; The digit at an address; 99 if it is none.
  (func $digit (param $at i32) (result i32)
    (local $d i32)
    (local.set $d (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
    (select (local.get $d) (i32.const 99) (i32.lt_u (local.get $d) (i32.const 10))))

  ;; Whether the cell's time, in microseconds, is within the busy hours.
  (func $busy (param $now i64) (result i32)
    (local $hour i32) (local $after i32) (local $before i32)
    (local.set $hour (i32.wrap_i64 (i64.rem_s (i64.div_s (local.get $now) (i64.const 3600000000)) (i64.const 24))))
    (local.set $after (i32.ge_s (local.get $hour) (global.get $from)))
    (local.set $before (i32.lt_s (local.get $hour) (global.get $to)))
    (select
      (i32.and (local.get $after) (local.get $before))
      (i32.or (local.get $after) (local.get $before))
      (i32.le_s (global.get $from) (global.get $to))))

  ;; A kind as a row of the tables.
  (func $row (param $kind i32) (result i32)
    (select (local.get $kind) (i32.const 0) (i32.le_u (local.get $kind) (i32.const 8))))

  ;; Seconds of waiting, a point each; at most three hours of them.
  (func $waited (param $micros i64) (result i32)
    (local $seconds i64)
    (local.set $seconds (i64.div_s (local.get $micros) (i64.const 1000000)))
    (if (i64.lt_s (local.get $seconds) (i64.const 0)) (then (return (i32.const 0))))
    (if (i64.gt_s (local.get $seconds) (i64.const 10800)) (then (return (i32.const 10800))))
    (i32.wrap_i64 (local.get $seconds)))

  ;; Answers the facts at $f with a score, as the eight bytes of the record: the priority in the lower
  ;; half, the reason above it.
  (func $score (param $f i32) (result i64)
    (local $kind i32) (local $rank i32) (local $priority i32) (local $reason i32) (local $live i32)
    (local.set $kind (i32.load8_u offset=56 (local.get $f)))
    (local.set $rank (i32.add (i32.const 128) (i32.shl (call $row (local.get $kind)) (i32.const 3))))
    (local.set $priority (i32.load (local.get $rank)))
    (local.set $reason (i32.load offset=4 (local.get $rank)))
    (if (i32.eq (local.get $kind) (i32.const 3)) (then ;; repair
      (local.set $live (i32.load8_u offset=61 (local.get $f)))
      (if (i32.and (i32.eq (local.get $live) (i32.const 1)) (i32.gt_u (i32.load8_u offset=62 (local.get $f)) (i32.const 1))) (then
        (local.set $priority (i32.const 50000))
        (local.set $reason (i32.const 2))))
      (if (i32.or (i32.eqz (local.get $live)) (i32.ge_u (local.get $live) (i32.load8_u offset=62 (local.get $f)))) (then
        (local.set $priority (i32.const 0))
        (local.set $reason (i32.const 6))))))
    ;; Copying goes last while clients are busy: everything but the last copy.
    (if (i32.and
          (i32.and (i32.or (i32.eq (local.get $kind) (i32.const 3)) (i32.eq (local.get $kind) (i32.const 4)))
                   (i32.ne (local.get $reason) (i32.const 2)))
          (call $busy (i64.load offset=24 (local.get $f)))) (then
      (local.set $priority (i32.sub (local.get $priority) (i32.const 10000)))
      (local.set $reason (i32.const 7))))
    (i64.or
      (i64.extend_i32_u (i32.add (local.get $priority) (call $waited (i64.load offset=32 (local.get $f)))))
      (i64.shl (i64.extend_i32_u (local.get $reason)) (i64.const 32))))

  ;; Answers a pair with a resolution: the verdict in the lowest byte, the reason in bytes 2 and 3.
  (func $conflict (param $existing i32) (param $incoming i32) (param $same_node i32) (result i64)
    (local $have i32) (local $comes i32) (local $cell i32)
    (local.set $have (i32.load8_u offset=56 (local.get $existing)))
    (local.set $comes (i32.load8_u offset=56 (local.get $incoming)))
    (if (i32.eq (local.get $have) (i32.const 4)) (then ;; a move
      (if (i32.and (i32.eq (local.get $comes) (i32.const 4)) (local.get $same_node)) (then
        (return (i64.const 0x0a0004)))) ;; merge: asked for twice
      (if (i32.and (i32.eq (local.get $comes) (i32.const 3)) (i32.le_u (i32.load8_u offset=61 (local.get $incoming)) (i32.const 1))) (then
        (return (i64.const 0x0d0003)))))) ;; supersede: the last copy
    (local.set $cell (i32.add (i32.const 256) (i32.shl
      (i32.add (i32.mul (call $row (local.get $have)) (i32.const 9)) (call $row (local.get $comes))) (i32.const 1))))
    (i64.extend_i32_u (i32.or
      (i32.load8_u (local.get $cell))
      (i32.shl (i32.load8_u offset=1 (local.get $cell)) (i32.const 16)))))

  (func (export "policy_score") (param $in i32) (param $n i32) (param $out i32) (result i32)
    (local $i i32) (local $at i32)
    (local.set $at (i32.add (local.get $in) (i32.load16_u offset=2 (local.get $in)))) ;; header_bytes
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i64.store (local.get $out) (call $score (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.load offset=4 (local.get $in))))    ;; stride
        (local.set $out (i32.add (local.get $out) (i32.load offset=16 (local.get $in)))) ;; answer_stride
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $n))

  (func (export "policy_conflict") (param $in i32) (param $n i32) (param $out i32) (result i32)
    (local $i i32) (local $at i32)
    (local.set $at (i32.add (local.get $in) (i32.load16_u offset=2 (local.get $in))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i64.store (local.get $out) (call $conflict
          (i32.add (local.get $at) (i32.const 8))
          (i32.add (i32.add (local.get $at) (i32.const 8)) (i32.load offset=12 (local.get $in))) ;; facts_stride
          (i32.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.load offset=4 (local.get $in))))
        (local.set $out (i32.add (local.get $out) (i32.load offset=16 (local.get $in))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $n)))
