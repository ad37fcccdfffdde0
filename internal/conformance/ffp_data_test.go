package conformance
import ("testing"; "braid/iscsi/login")
func TestX(t *testing.T) {
	r := newUp(t, offer(func(o *login.Offer){o.HeaderDigest=login.DigestCRC32C;o.DataDigest=login.DigestCRC32C}))
	l := r.first()
	c := r.write(30000)
	p := r.take(l)
	l.Good(p[0].ITT())
	_ = c
	rd := r.read(4096)
	q := r.one(l, SCSI)
	l.Send(l.Data(q, 0, 0, FBit|SBit, make([]byte, 4096)))
	r.done(rd,c)
	l.Send(l.Nop(None,77,lunBytes,nil))
	r.one(l,NopOut)
	r.s.Logout(r.now)
	q=r.one(l,LogoutReq)
	l.Send(l.Out(q.ITT(),0,0,0))
}
